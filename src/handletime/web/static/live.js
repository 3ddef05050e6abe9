// A page that keeps itself up to date: it is sent what is new, or asks for it where that does not work.
import { drawCharts } from "./charts.js";
import morphdom from "./vendor/morphdom-esm.js";
import { count } from "./ticking.js";

const EVERY_MS = 5000;
const PATIENCE_MS = 15000;
const HISTORY_EVERY = 12;

export function keepUpToDate(now) {
  const live = document.getElementById("live");
  const history = document.getElementById("history");
  // What is shown, so that only what differs from it is sent.
  const query = () => `?${now.dataset.query ? `${now.dataset.query}&` : ""}known=${live.dataset.state ?? ""}.${history?.dataset.state ?? ""}`;
  let asked = 0;
  let missed = false;
  const trouble = document.getElementById("trouble");
  let polling = null;
  let heard = Date.now();
  let gone = false;
  let over = false;

  const say = (text, link) => {
    trouble.hidden = !text;
    trouble.textContent = text;
    if (link) {
      const a = document.createElement("a");
      [a.href, a.textContent] = [location.href, link];
      trouble.append(" ", a);
    }
  };

  // What moves by itself can be held still.
  const pause = document.getElementById("pause");
  pause.hidden = false;
  pause.addEventListener("click", () => {
    const paused = pause.getAttribute("aria-pressed") !== "true";
    pause.setAttribute("aria-pressed", paused);
    pause.textContent = paused ? "Paused: go on" : "Pause";
    if (!paused && !over) ask();
  });

  const show = (fresh) => {
    heard = Date.now();
    now.dataset.heard = Number(now.dataset.heard ?? 0) + 1;
    // That the server answers again is worth knowing also where what is shown is held still.
    if (gone) say("");
    gone = false;
    if (pause.getAttribute("aria-pressed") === "true") return;
    if (fresh.live) replace(live, fresh.live, fresh.liveState);
    count(live, fresh.at, fresh.now);
    // A chart that is read as a table stays as it is; what came meanwhile is asked for afterwards.
    const read = history?.querySelector("details[open]");
    if (fresh.history && !read) {
      if (replace(history, fresh.history, fresh.historyState)) drawCharts(history);
      missed = false;
    } else if (fresh.history) {
      missed = true;
    } else if (missed && !read) {
      missed = false;
      asked = 0;
      ask();
    }
  };

  const lost = () => {
    gone = true;
    say("The server does not answer; what is shown is from before. Trying again…");
  };

  const ended = () => {
    over = true;
    source?.close();
    clearInterval(polling);
    clearInterval(watching);
    say("The session has ended, or its key was revoked or has expired.", "Sign in again");
  };

  const ask = async () => {
    try {
      const more = asked++ % HISTORY_EVERY ? "" : "&history=yes";
      const answer = await fetch(`${now.dataset.live}/data${query()}${more}`, { headers: { Accept: "application/json" } });
      if (answer.status === 401 || answer.status === 403) return ended();
      if (!answer.ok) return lost();
      show(await answer.json());
    } catch {
      lost();
    }
  };

  const poll = () => {
    polling ??= setInterval(ask, EVERY_MS);
  };

  let source = null;
  const listen = () => {
    source = new EventSource(`${now.dataset.live}/events${query()}`);
    source.addEventListener("open", () => {
      clearInterval(polling);
      polling = null;
      heard = Date.now();
    });
    source.addEventListener("fresh", (event) => show(JSON.parse(event.data)));
    source.addEventListener("trouble", lost);
    source.addEventListener("ended", ended);
    source.addEventListener("error", () => {
      // It tries again by itself, unless it was told not to; meanwhile, and then, the page asks.
      ask();
      poll();
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 4 * EVERY_MS);
    });
  };
  const watching = setInterval(() => {
    if (Date.now() - heard > PATIENCE_MS) {
      ask();
      poll();
    }
  }, EVERY_MS);
  if (now.dataset.stream && "EventSource" in window) listen();
  else poll();
}

// Puts new HTML in the place of the old, and touches only what differs: what has the focus, what is selected and how far
// was scrolled stay. Says whether a chart has other data now, and has to be drawn.
function replace(element, html, state) {
  element.dataset.state = state;
  const fresh = element.cloneNode(false);
  fresh.innerHTML = html;
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  const around = [];
  for (let each = focused; each && each !== element; each = each.parentElement) around.push(each);
  const selection = getSelection();
  const selected = !selection.isCollapsed && element.contains(selection.anchorNode) ? [selection.anchorNode, selection.anchorOffset, selection.focusNode, selection.focusOffset] : null;
  let redraw = false;

  morphdom(element, fresh, {
    childrenOnly: true,
    // Rows that are others' now are moved, not rewritten.
    getNodeKey: (node) => node.id || node.dataset?.key,
    onBeforeElUpdated: (old, wanted) => {
      // What somebody unfolded stays so.
      if (old.matches("details")) wanted.open = old.open;
      if (!old.matches("[data-chart]")) return !old.isEqualNode(wanted);
      if (old.dataset.chart !== wanted.dataset.chart) {
        old.replaceWith(wanted.cloneNode(true));
        redraw = true;
      }
      return false;
    },
    onNodeAdded: (node) => {
      if (node.querySelector?.("[data-chart]")) redraw = true;
    },
  });

  if (focused && document.activeElement !== focused) {
    // It was moved, or made anew; where it is gone, what was around it is next.
    const next = [document.getElementById(focused.id), ...around].find((each) => each?.isConnected && each.tabIndex >= 0);
    next?.focus({ preventScroll: true });
  }
  if (selected && selected[0].isConnected && selected[2].isConnected && selection.isCollapsed) {
    const within = (node, offset) => Math.min(offset, node.nodeType === Node.TEXT_NODE ? node.length : node.childNodes.length);
    selection.setBaseAndExtent(selected[0], within(selected[0], selected[1]), selected[2], within(selected[2], selected[3]));
  }
  return redraw;
}
