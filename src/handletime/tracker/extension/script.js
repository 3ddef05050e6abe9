// For platforms whose pages may be changed, such as Chatwoot's DASHBOARD_SCRIPTS. See alone.js on keys.
import { alone } from "./alone.js";
import { conversationAt } from "./desks.js";
import { DESKS } from "./desklist.js";
import { watch } from "./watching.js";

const page = alone();
watch((address) => conversationAt(DESKS, address), page.word);
addEventListener("pagehide", page.leave);
