// Before anything is drawn: the theme that was chosen in this browser, if any.
try {
  const chosen = localStorage.getItem("handletime-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
} catch {
  // Nothing may be kept here; then it is the system's.
}
