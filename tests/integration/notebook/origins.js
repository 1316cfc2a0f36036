// What a page of a session tries on the hub and on another's session; what it got, by name.
async hub => {
  const got = {};
  const attempt = async (name, act) => {
    try { got[name] = (await act()) || null; } catch (error) { got[name] = null; }
  };
  const wait = ms => new Promise(done => setTimeout(done, ms));
  const PATIENCE = 60_000;  // milliseconds: a busy guest's pages come late, and so does their refusal
  const loaded = frame => Promise.race([  // also when it was refused
    new Promise(done => frame.addEventListener("load", done)), wait(PATIENCE)]);
  const held = async other => {  // what is parted from us looks closed once its page is here
    for (const end = Date.now() + PATIENCE; other && !other.closed && Date.now() < end;)
      await wait(100);
    return other && !other.closed;
  };
  const text = async (url, how) => { const a = await fetch(url, how); return a.ok && await a.text(); };
  const form = words => new URLSearchParams(words);
  const here = location.href;

  await attempt("reads the classroom", () => text(hub + "/hub/classroom", { credentials: "include" }));
  await attempt("reads it at its own port", () => text("/hub/classroom"));
  await attempt("reads the list of users", () => text(hub + "/hub/api/users", { credentials: "include" }));
  await attempt("sees the hub's cookies", async () => document.cookie.includes("hub-login"));
  history.replaceState(null, "", "/hub/home");
  const xsrf = (document.cookie.match(/_xsrf=([^;]*)/) || [])[1] || "";
  await attempt("sees the hub's cookies in its place", async () => document.cookie.includes("hub-login"));
  history.replaceState(null, "", here);
  const words = { _xsrf: xsrf, student: "VICTIM", action: "message", text: "by mallory" };
  await attempt("", () => fetch(hub + "/hub/classroom/do", {
    method: "POST", mode: "no-cors", credentials: "include", body: form(words) }));
  await attempt("posts in words of JSON", () => text(hub + "/hub/api/users/VICTIM/tokens?_xsrf=" + xsrf, {
    method: "POST", credentials: "include", body: "{}" }));
  await attempt("", () => fetch(hub + "/hub/api/users/VICTIM/server?_xsrf=" + xsrf, {
    method: "POST", mode: "no-cors", credentials: "include" }));
  await attempt("", async () => {
    const sent = document.createElement("form");
    Object.assign(sent, { method: "post", action: hub + "/hub/classroom/do", target: "elsewhere" });
    for (const [name, value] of Object.entries(words)) {
      const field = document.createElement("input");
      Object.assign(field, { name, value });
      sent.append(field);
    }
    document.body.append(sent);
    HTMLFormElement.prototype.submit.call(sent);
    await wait(2000);
  });
  await attempt("frames the classroom", async () => {
    const frame = document.createElement("iframe");
    frame.src = hub + "/hub/classroom";
    document.body.append(frame);
    await loaded(frame);
    return frame.contentDocument && frame.contentDocument.body.innerText.includes("Classroom");
  });
  await attempt("holds the classroom's window", () => held(window.open(hub + "/hub/classroom")));
  await attempt("reads the hub's window by opener", async () => window.opener && window.opener.document);
  await attempt("speaks with a window of the hub's", async () => {
    let said = false;
    window.addEventListener("message", event => { said = said || event.origin === hub; });
    const other = window.open(hub + "/hub/home");
    await held(other);
    if (other) other.postMessage("hello", "*");
    await wait(1000);
    return said;
  });
  await attempt("has a worker for all that comes", async () => {
    const worker = await navigator.serviceWorker.register(
      SCRIPT, { scope: "/" });
    return worker.scope;
  });
  await attempt("has a worker for its own pages", async () => {
    const worker = await navigator.serviceWorker.register(SCRIPT);
    return worker.scope;
  });
  await attempt("reads another's files", () => text("/user/VICTIM/api/contents"));
  await attempt("frames another's notebook", async () => {
    const frame = document.createElement("iframe");
    frame.src = "/user/VICTIM/lab";
    document.body.append(frame);
    await loaded(frame);
    return frame.contentDocument && frame.contentDocument.querySelector("#jupyter-config-data") && "yes";
  });
  await attempt("opens another's terminal", () => new Promise((done, failed) => {
    const socket = new WebSocket(location.origin.replace("http", "ws") + "/user/VICTIM/terminals/websocket/1");
    socket.onopen = () => done("open");
    socket.onerror = failed;
  }));
  delete got[""];
  return Object.fromEntries(Object.entries(got).filter(([name, what]) => what));
}
