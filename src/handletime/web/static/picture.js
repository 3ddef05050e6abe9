// One conversation: what is pointed at, or reached with the arrow keys, is described beneath the picture.

export function explore(picture) {
  const items = [...picture.querySelectorAll(".item")].sort((a, b) => a.dataset.order - b.dataset.order);
  const says = document.getElementById("says");
  let chosen = null;

  const choose = (item) => {
    if (item === chosen) return;
    chosen?.classList.remove("chosen");
    chosen = item;
    item.classList.add("chosen");
    says.replaceChildren(
      ...item.dataset.says.split("\n").map((line) => {
        const p = document.createElement("p");
        p.textContent = line;
        return p;
      }),
    );
  };

  const go = (to) => {
    const item = items[Math.max(0, Math.min(to, items.length - 1))];
    for (const each of items) each.tabIndex = each === item ? 0 : -1;
    item.focus({ preventScroll: true });
    item.scrollIntoView({ block: "nearest", inline: "nearest" });
  };

  picture.addEventListener("pointerover", (event) => {
    const item = event.target.closest(".item");
    if (item) choose(item);
  });
  picture.addEventListener("focusin", (event) => choose(event.target.closest(".item")));
  picture.addEventListener("click", (event) => {
    const item = event.target.closest(".item");
    if (item) go(items.indexOf(item));
  });
  picture.addEventListener("keydown", (event) => {
    const at = items.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    go(to);
  });
}
