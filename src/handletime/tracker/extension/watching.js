// What a page shows, from its address and its state alone: whoever asks is told whenever it changes, and every 10 s
// while it is visible. For the extension's pages and for the script alike.

/** @typedef {import("./focus.js").Word} Word */

export const EVERY_MS = 10_000;
// Where the browser does not tell of new addresses.
const LOOK_MS = 300;
const LOOK_EVERY_MS = 2_000;

/**
 * @param {(address: string) => string | null} read the conversation that an address shows
 * @param {(word: Word) => void} tell
 * @returns {{ say: () => void, stop: () => void }}
 */
export function watch(read, tell) {
  const page = crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`;
  let number = 0;
  let told = "";
  let toldAt = 0;
  let gone = false;

  /** @param {boolean} always */
  const look = (always) => {
    const conversation = gone ? null : read(location.href);
    const visible = !gone && document.visibilityState === "visible";
    const keyboard = visible && document.hasFocus();
    const now = `${conversation} ${visible} ${keyboard}`;
    if (!always && now === told) return;
    [told, toldAt] = [now, performance.now()];
    tell({ page, number: ++number, at: Date.now(), conversation, visible, keyboard });
  };
  const changed = () => look(false);
  const hidden = () => {
    gone = true;
    look(true);
  };
  const back = () => {
    gone = false;
    look(true);
  };

  /** @type {[EventTarget, string, () => void][]} */
  const heard = [
    [document, "visibilitychange", changed],
    [window, "focus", changed],
    // Who has the keyboard is known a moment after the window lost it.
    [window, "blur", () => setTimeout(changed)],
    [window, "popstate", changed],
    [window, "hashchange", changed],
    [window, "pagehide", hidden],
    [window, "pageshow", back],
    [document, "resume", () => look(true)],
  ];
  const navigation = /** @type {{ navigation?: EventTarget }} */ (/** @type {unknown} */ (window)).navigation;
  if (navigation) heard.push([navigation, "currententrychange", changed]);
  for (const [target, name, listener] of heard) target.addEventListener(name, listener, true);

  const looking = navigation ? 0 : setInterval(changed, LOOK_MS);
  const speaking = setInterval(() => {
    if (!gone && document.visibilityState === "visible" && performance.now() - toldAt >= EVERY_MS - LOOK_MS) look(true);
  }, LOOK_EVERY_MS);
  look(true);

  return {
    say: () => look(true),
    stop: () => {
      clearInterval(looking);
      clearInterval(speaking);
      for (const [target, name, listener] of heard) target.removeEventListener(name, listener, true);
    },
  };
}
