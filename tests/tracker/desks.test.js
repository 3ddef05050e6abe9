// Which conversation an address shows, for each desk, and which addresses show none.
import assert from "node:assert/strict";
import test from "node:test";
import { KINDS, compiled, conversationAt } from "../../src/handletime/tracker/extension/desks.js";

const shows = {
  chatwoot: {
    "/app/accounts/1/conversations/42": "42",
    "/app/accounts/1/inbox/3/conversations/42": "42",
    "/app/accounts/1/label/vip/conversations/42": "42",
    "/app/accounts/1/team/2/conversations/42": "42",
    "/app/accounts/1/custom_view/5/conversations/42": "42",
    "/app/accounts/1/mentions/conversations/42": "42",
    "/app/accounts/1/unattended/conversations/42?messageId=9": "42",
    "/app/accounts/1/participating/conversations/42": "42",
    "/app/accounts/1/inbox-view/conversation/42": "42",
    "/app/accounts/1/conversations": null,
    "/app/accounts/1/dashboard": null,
    "/app/accounts/1/inbox/3": null,
    "/app/accounts/1/contacts/42": null,
    "/app/accounts/1/inbox/conversations/42": null,
    "/app/accounts/1/settings/conversations/42": null,
    "/x/app/accounts/1/conversations/42": null,
    "/app/accounts/1/conversations/42/x": null,
    "/login?next=/app/accounts/1/conversations/42": null,
    "/#/app/accounts/1/conversations/42": null,
  },
  zendesk: { "/agent/tickets/7": "7", "/agent/tickets/7/": "7", "/agent/tickets/new/1": null, "/agent/users/7": null, "/hc/agent/tickets/7": null },
  rocketchat: { "/live/aB3x": "aB3x", "/omnichannel/current/aB3x": "aB3x", "/omnichannel/current/aB3x/room-info": "aB3x", "/live": null, "/omnichannel/current": null, "/channel/live/x": null },
  intercom: { "/a/inbox/app1/inbox/admin/1/conversation/215": "215", "/a/apps/app1/conversations/215": null, "/a/inbox/app1/inbox/admin/1": null, "/conversation/215": null },
  zammad: { "/#ticket/zoom/13": "13", "/#ticket/zoom/13/77": "13", "/#ticket/view/13": null, "/ticket/zoom/13": null, "/#dashboard": null },
  freshdesk: { "/a/tickets/9": "9", "/a/tickets/9?x=1": "9", "/a/tickets/filters/9": null, "/a/contacts/9": null },
  front: { "/inboxes/teams/folders/1/unassigned/open/cnv_2b": "cnv_2b", "/open/cnv_2b": "cnv_2b", "/open/msg_2b": null, "/closed/cnv_2b": null },
};

test("every kind of desk is tried", () => assert.deepEqual(Object.keys(shows).sort(), Object.keys(KINDS).sort()));

for (const [kind, addresses] of Object.entries(shows)) {
  for (const [path, id] of Object.entries(addresses)) {
    test(`${kind} ${path} shows ${id}`, () => {
      const desks = [{ origin: "https://desk.example.com", kind }];
      assert.equal(conversationAt(desks, `https://desk.example.com${path}`), id);
      assert.equal(conversationAt(desks, `https://other.example.com${path}`), null);
      assert.equal(conversationAt(desks, `https://desk.example.com:8443${path}`), null);
    });
  }
}

test("an expression of one's own matches the whole, and can be changed", () => {
  const desks = [{ origin: "https://own.example.com", kind: "own", pattern: "/(?:case|fall)/(\\d+)" }];
  assert.equal(conversationAt(desks, "https://own.example.com/fall/3"), "3");
  assert.equal(conversationAt(desks, "https://own.example.com/fall/3/edit"), null);
  assert.equal(conversationAt(desks, "https://own.example.com/app?id=8", "/app\\?id=(\\d+)"), "8");
  assert.equal(conversationAt(desks, "https://own.example.com/fall/3", "(" ), null);
});

test("an expression needs exactly one group", () => {
  assert.equal(compiled("/a/(\\d+)/(\\d+)"), null);
  assert.equal(compiled("/a/\\d+"), null);
  assert.ok(compiled("/a/(\\d+)|/b/x"));
});

test("no address and no odd id", () => {
  const desks = [{ origin: "https://r.example.com", kind: "rocketchat" }];
  for (const path of ["/live/a%00b", "/live/%E0%A4%A", `/live/${"x".repeat(129)}`]) {
    assert.equal(conversationAt(desks, `https://r.example.com${path}`), null);
  }
  assert.equal(conversationAt(desks, "about:blank"), null);
  assert.equal(conversationAt(desks, ""), null);
});
