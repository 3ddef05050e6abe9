// In each page of a desk: tells the extension's worker what it shows.
import { conversationAt } from "./desks.js";
import { DESKS } from "./desklist.js";
import { watch } from "./watching.js";

let pattern = "";

const watching = watch(
  (address) => conversationAt(DESKS, address, pattern),
  (word) => void speak(word),
);

/** @param {import("./focus.js").Word} word */
async function speak(word) {
  // The extension was loaded anew or removed, and left this script behind: its successor speaks.
  if (!chrome.runtime?.id) return watching.stop();
  try {
    const answer = await chrome.runtime.sendMessage({ tell: "shows", word });
    if (answer && answer.pattern !== pattern) {
      pattern = answer.pattern;
      watching.say();
    }
  } catch {
    if (!chrome.runtime?.id) watching.stop();
  }
}
