import { drawCharts } from "./charts.js";
import { explore } from "./picture.js";
import { keepUpToDate } from "./live.js";

// --- the theme: the system's, dark, light
const NAMES = { "": "as the system", dark: "dark", light: "light" };
const button = document.getElementById("theme");
const root = document.documentElement;
if (button) {
  button.hidden = false;
  const show = () => (document.getElementById("theme-name").textContent = NAMES[root.dataset.theme ?? ""]);
  button.addEventListener("click", () => {
    const themes = Object.keys(NAMES);
    const next = themes[(themes.indexOf(root.dataset.theme ?? "") + 1) % themes.length];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    try {
      localStorage.setItem("handletime-theme", next);
    } catch {
      // Then it holds for this page only.
    }
    show();
    drawCharts(document);
  });
  show();
}
// Charts have the colours of what they are drawn on: a screen in the dark, paper, colours that are forced.
for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)", "print"]) {
  matchMedia(query).addEventListener("change", () => drawCharts(document));
}

// --- forms: what is empty stays out of the address; a span that was typed replaces "last"
for (const field of document.querySelectorAll("[data-zone]")) {
  field.value = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "";
}
for (const form of document.querySelectorAll("[data-filters]")) {
  form.addEventListener("submit", () => {
    const typed = form.elements.from.value || form.elements.to.value;
    for (const field of form.elements) {
      if (field.name && (field.value === "" || (typed && field.name === "last"))) field.disabled = true;
    }
    busy(true);
  });
  // Back again by the browser's button: usable again.
  addEventListener("pageshow", () => {
    for (const field of form.elements) field.disabled = false;
  });
}

// --- loading: what is shown is on its way out
function busy(is) {
  document.getElementById("main").setAttribute("aria-busy", is);
}
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  const elsewhere = event.ctrlKey || event.metaKey || event.shiftKey || link?.download || link?.getAttribute("href").startsWith("#");
  if (link && !elsewhere) busy(true);
});
addEventListener("pageshow", () => busy(false));

// --- what opens beneath a filter closes by Escape, and by a click elsewhere
const drops = document.querySelectorAll("details.drop");
for (const drop of drops) {
  drop.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !drop.open) return;
    drop.open = false;
    drop.querySelector("summary").focus();
  });
}
document.addEventListener("click", (event) => {
  for (const drop of drops) if (!drop.contains(event.target)) drop.open = false;
});

// --- copy the link to what is shown
for (const link of document.querySelectorAll("[data-copy-link]")) {
  if (!navigator.clipboard) continue;
  const copy = document.createElement("button");
  copy.type = "button";
  copy.className = "quiet";
  copy.textContent = "Copy link";
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(link.href);
    copy.textContent = "Copied";
  });
  link.replaceWith(copy);
}

// --- copy what stands in an element
for (const copy of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(copy.dataset.copy).textContent.trim());
    copy.textContent = "Copied";
  });
}

drawCharts(document);
for (const picture of document.querySelectorAll("[data-picture]")) explore(picture);
const now = document.getElementById("now");
if (now) keepUpToDate(now);
