// Owns the page's one connection, opened before the rest of the page is there, and what is
// asked on it first: both are on their way while the browser still loads modules.

import { Rpc } from "./rpc.js";

const kTokenKey = "chronovisor.token";
const kFirst = ["version", "info", "where"];

/// From the address once; it does not stay there, where it would be copied and shown.
function token() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(kTokenKey, given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(kTokenKey) ?? "";
}

export const rpc = new Rpc(`ws://${location.host}/api`, ["chronovisor.v1", `token.${token()}`]);

let answers = Promise.reject(new Error("there is no connection"));
answers.catch(() => {});
let latest = null;
rpc.addEventListener("state", ({ detail }) => {
  if (detail.state !== "open") return;
  latest = null;
  answers = Promise.all(kFirst.map((method) => rpc.call(method)));
  answers.catch(() => {});
});
// It may move before anybody else listens.
rpc.addEventListener("moved", ({ detail }) => (latest = detail.where));

/// {version, info, where}, once with every connection.
export async function greeting() {
  const [version, info, where] = await answers;
  return { version, info, where: latest ?? where };
}
