// The extension's page: its settings, what it does now, and what was sent.
import { ask } from "./asking.js";
import { BUILT } from "./config.js";
import { groupsOf } from "./desks.js";
import { meaning } from "./sending.js";
import { managedSettings, readSettings } from "./settings.js";

/** @typedef {import("./sending.js").Told} Told */
/** @typedef {{ state: string, trouble: string, off: boolean, waiting: number, lost: number, conversation: string | null, told: Told[] }} Status */

const NAMES = /** @type {const} */ (["server", "account", "key", "mode", "idleSeconds", "ownPattern"]);
const LOOK_MS = 2_000;

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @returns {T}
 */
const element = (id) => /** @type {T} */ (document.getElementById(id));
/** @param {string} id @returns {HTMLInputElement} */
const field = (id) => element(id);

/** @param {string} text */
function say(text) {
  element("said").textContent = text;
}

async function fill() {
  const [managed, settings] = await Promise.all([managedSettings(), readSettings()]);
  for (const name of NAMES) {
    field(name).value = String(settings[name]);
    field(name).disabled = managed[name] !== undefined;
  }
  element("managed").hidden = !NAMES.some((name) => managed[name] !== undefined);
}

/** What stands in the form, or a sentence on what is wrong with it. */
function read() {
  const [server, key, pattern] = [field("server").value.trim(), field("key").value.trim(), field("ownPattern").value.trim()];
  if (!URL.canParse(server)) return "The server is no address: it looks like https://handletime.example.com.";
  if (BUILT.server && new URL(server).origin !== new URL(BUILT.server).origin) {
    return `This extension was built for ${new URL(BUILT.server).origin} and may speak to no other server. Ask for one that was built for this one.`;
  }
  if (!/^[a-zA-Z0-9]{1,64}$/.test(field("account").value.trim())) return "The account has letters and digits only.";
  if (key && !/^ht_[0-9a-zA-Z]+_[0-9a-zA-Z]+$/.test(key)) return "The key is not whole: it begins with ht_ and has another _ in it.";
  if (pattern && groupsOf(pattern) !== 1) return "The expression has to be one of JavaScript's, with exactly one group, in brackets: the conversation.";
  const idle = Number(field("idleSeconds").value);
  if (!Number.isInteger(idle) || idle < 15) return "Away after 15 seconds or more.";
  return { server, account: field("account").value.trim(), key, mode: field("mode").value, idleSeconds: idle, ownPattern: pattern };
}

element("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const wanted = read();
  if (typeof wanted === "string") return say(wanted);
  const before = await readSettings();
  const { waiting } = await status();
  const another = before.key !== "" && (before.key !== wanted.key || before.account !== wanted.account);
  const whose = another && waiting ? await asked(waiting) : "same";
  if (!whose) return say("Nothing was changed.");
  if (whose === "other") await status({ forget: true });
  /** @type {Record<string, unknown>} */
  const kept = {};
  for (const name of NAMES) if (!field(name).disabled) kept[name] = wanted[name];
  await chrome.storage.local.set({ settings: kept });
  say("Saved.");
  await look();
});

/**
 * Whose the moves are that wait: of the same agent as the new key, of another one, or "" where nothing is to change.
 * @param {number} waiting
 * @returns {Promise<string>}
 */
function asked(waiting) {
  /** @type {HTMLDialogElement} */
  const dialog = element("another");
  element("another-what").textContent = `${waiting} moves wait that were made with the key before. Whose is the new key?`;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => done(dialog.returnValue), { once: true }));
}

element("test").addEventListener("click", async () => {
  const wanted = read();
  if (typeof wanted === "string") return say(wanted);
  if (!wanted.key) return say("There is no key yet. Whoever looks after handletime gives you one.");
  say("Asking the server…");
  const answer = await ask(wanted, [], false);
  const now = /** @type {{ now?: number } | null} */ (answer.body)?.now;
  if (answer.status === 0) return say(await unreachable(wanted.server));
  if (answer.status !== 200 || typeof now !== "number") return say(meaning(answer.status));
  const off = Math.round((now - answer.received) / 1000);
  const clock = Math.abs(off) > 1 ? ` This computer's clock is ${Math.abs(off)} s ${off > 0 ? "behind" : "ahead of"} the server's; that is corrected.` : "";
  say(`It works: the server knows this key.${clock}`);
});

/** @param {string} server */
async function unreachable(server) {
  const origins = [`${new URL(server).protocol}//${new URL(server).hostname}/*`];
  if (!(await chrome.permissions.contains({ origins }).catch(() => true))) {
    return "The browser does not let this extension speak to the server. Allow it on the browser's page about this extension, under permissions.";
  }
  return "The server cannot be reached: is the address right, and this computer in the right network?";
}

element("pause").addEventListener("click", async () => {
  const { off } = await status();
  draw(await status({ off: !off }));
});

/**
 * @param {{ off?: boolean, forget?: boolean }} [wish]
 * @returns {Promise<Status>}
 */
function status(wish = {}) {
  return chrome.runtime.sendMessage({ tell: "options", ...wish });
}

/** @type {Record<string, string>} */
const STATES = {
  on: "On: a conversation is on your screen.",
  off: "On: no conversation is on your screen.",
  idle: "You are away: nothing counts until you are back.",
  paused: "Paused: nothing counts and nothing is noted.",
  error: "Not set up yet: a server, an account and a key are needed.",
};

let drawn = "";

/** @param {Status} now */
function draw(now) {
  const shown = JSON.stringify(now);
  if (shown === drawn) return;
  drawn = shown;
  const waiting = now.waiting ? ` ${now.waiting} to be sent.` : "";
  const lost = now.lost ? ` ${now.lost} were dropped, for too many waited.` : "";
  const on = now.conversation === null ? "" : ` Conversation ${now.conversation}.`;
  element("state").textContent = `${now.trouble || STATES[now.state]}${on}${waiting}${lost}`;
  element("pause").textContent = now.off ? "Go on" : "Pause";
  element("pause").setAttribute("aria-pressed", String(now.off));
  element("none").hidden = now.told.length > 0;
  element("told").replaceChildren(...[...now.told].reverse().map(row));
}

/** @param {Told} told */
function row({ event, at, answer }) {
  const line = document.createElement("tr");
  const what = event.type === "focused" ? "on the screen" : "no longer on the screen";
  for (const text of [new Date(event.time).toLocaleString(), event.conversationId, what]) cell(line, text);
  const code = document.createElement("code");
  code.textContent = JSON.stringify(event);
  line.insertCell().append(code);
  cell(line, `${new Date(at).toLocaleTimeString()}: ${answer}`);
  return line;
}

/** @param {HTMLTableRowElement} line @param {string} text */
function cell(line, text) {
  line.insertCell().textContent = text;
}

async function look() {
  draw(await status());
}

await fill();
/** @type {HTMLFieldSetElement} */ (element("fields")).disabled = false;
await look();
setInterval(() => void look(), LOOK_MS);
