// A widget of LivePerson's workspace: it is loaded once for each open conversation and is told when that is selected.
import { alone } from "./alone.js";
import { EVERY_MS } from "./watching.js";

/**
 * LivePerson's Widget SDK, as far as it is used here.
 * @typedef {object} Sdk
 * @property {(callbacks: { visitorFocusedCallback: () => void, visitorBlurredCallback: () => void }) => void} init
 * @property {(path: string, onSuccess: (value: unknown) => void, onError: (error: unknown) => void) => void} get
 */

const ID_PATH = "chatInfo.rtSessionId";
const SDK_LOOK_MS = 500;

/** @param {Sdk} sdk */
function begin(sdk) {
  const page = alone();
  const name = crypto.randomUUID();
  let number = 0;
  let selected = true;
  let gone = false;
  /** @type {string | null} */
  let conversation = null;

  const say = () => {
    const visible = selected && !gone && document.visibilityState === "visible";
    // The keyboard is in the workspace around this frame: the conversation that is selected counts as having it.
    page.word({ page: name, number: ++number, at: Date.now(), conversation, visible, keyboard: visible });
  };
  const read = () => {
    sdk.get(
      ID_PATH,
      (value) => {
        conversation = typeof value === "string" || typeof value === "number" ? String(value) : null;
        say();
      },
      () => setTimeout(read, EVERY_MS),
    );
  };
  sdk.init({
    visitorFocusedCallback: () => {
      selected = true;
      say();
      read();
    },
    visitorBlurredCallback: () => {
      selected = false;
      say();
    },
  });
  read();
  document.addEventListener("visibilitychange", say);
  addEventListener("pagehide", () => {
    gone = true;
    say();
    page.leave();
  });
  addEventListener("pageshow", () => {
    gone = false;
    say();
  });
  setInterval(() => {
    if (selected && document.visibilityState === "visible") say();
  }, EVERY_MS);
}

function wait() {
  const { lpTag } = /** @type {{ lpTag?: { agentSDK?: Sdk } }} */ (/** @type {unknown} */ (window));
  if (lpTag?.agentSDK) begin(lpTag.agentSDK);
  else setTimeout(wait, SDK_LOOK_MS);
}

wait();
