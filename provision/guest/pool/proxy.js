// The notebook's proxy: configurable-http-proxy with two ports, which are two origins.
//
// On one port is the hub, on the other are the sessions. Cookies know no ports, so what a session's
// server or a page of it can do with them is decided here: a server sees its own student's cookies
// only and sets no others, and a browser is let in to one student's server at a time, by a ticket of
// the hub's, until it signs out. Where the school has names for it (subdomain_host), each student's
// server has a host of its own besides. provision/guest/hub/visit.py makes the tickets;
// docs/security.md says why.
//
// Started with its settings as JSON in the argument, and the token of its API in the environment.
"use strict";

const crypto = require("crypto");
const fs = require("fs");
const http = require("http");
const https = require("https");
const { ConfigurableProxy } = require("configurable-http-proxy/lib/configproxy.js");
const { defaultLogger } = require("configurable-http-proxy/lib/log.js");

const VISIT_SECONDS = 24 * 3600;
const HOST = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?$/;
const SERVER = /^\/user\/([^/?#]+)(?=[/?]|$)/;
// What pages of both origins are made of; nobody's own.
const STATIC = /^\/(?:hub\/(?:static\/|logo(?:$|\?))|nbextensions\/)/;
// A session's server has no business with these: they are about the host, so about the hub, too.
const HEADERS = [
  "alt-svc", "clear-site-data", "nel", "public-key-pins", "report-to", "reporting-endpoints",
  "service-worker-allowed", "strict-transport-security",
];

class Notebook extends ConfigurableProxy {
  constructor(options, settings) {
    super(options);
    this.settings = settings;
    this.key = crypto.createHmac("sha256", options.authToken).update("visits").digest();
    this.used = new Map();
    this.left = new Map(); // browsers that signed out, until their visits are over anyway
    this.open = new Map(); // the websockets of each browser
    const web = (req, res) =>
      this.visitWeb(req, res).catch((error) => {
        this.log.error("%s", error.stack);
        refuse(res, 400, "This cannot be read.");
      });
    this.sessions = options.ssl ? https.createServer(options.ssl, web) : http.createServer(web);
    this.sessions.on("upgrade", (req, socket, head) =>
      this.visitWs(req, socket, head).catch(() => hangUp(socket))
    );
    this.proxy.on("proxyRes", (answer, req, res) => {
      clean(answer.headers, req.student);
      // What breaks off behind us, as a hub that is killed, breaks off before us: pages ask again.
      answer.once("close", () => answer.complete || res.destroy());
    });
    this.proxy.on("proxyReqWs", (asked, req) => {
      for (const event of ["response", "upgrade"])
        asked.prependListener(event, (answer) => clean(answer.headers, req.student));
    });
  }

  // Routes are found by other rules than ours (%75ser, //user): what was not let in to a student's
  // server is the hub's, however it is written.
  async targetForReq(req) {
    const route = await super.targetForReq(req);
    const wanted = req.student === undefined ? "/" : `/user/${req.student}`;
    return route !== undefined && route.prefix === wanted ? route : undefined;
  }

  // The hub's port.

  handleProxyWeb(req, res) {
    const student = named(req.url);
    if (student === null) return super.handleProxyWeb(req, res);
    if (byToken(req)) return this.serve(req, res, student);
    if (!navigates(req)) return refuse(res, 403, "Sessions have an address of their own.");
    return redirect(res, `/hub/visit?next=${encodeURIComponent(req.url)}`);
  }

  handleProxyWs(req, socket, head) {
    const student = named(req.url);
    if (student === null) return super.handleProxyWs(req, socket, head);
    if (!byToken(req)) return hangUp(socket);
    return this.serveWs(req, socket, head, student);
  }

  // The sessions' port.

  async visitWeb(req, res) {
    if (req.url.startsWith("/visit?")) return this.enter(req, res);
    if (req.url.startsWith("/leave?")) return this.leave(req, res);
    if (req.method === "GET" && STATIC.test(req.url)) {
      delete req.headers.cookie;
      delete req.headers.authorization;
      if (req.url.startsWith("/nbextensions/")) req.url = `/hub${req.url}`;
      return super.handleProxyWeb(req, res);
    }
    const student = named(req.url);
    const open = student !== null && (byToken(req) || this.visits(req, student));
    if (!open || !(await this.runs(req, student))) {
      if (navigates(req)) return redirect(res, this.hub(req, req.url));
      if (open) return refuse(res, 424, `JupyterHub server no longer running at ${req.url}`);
      return refuse(res, 403, "Open your notebook anew: this browser is let in no longer.");
    }
    // A worker would answer for whoever comes next in this browser.
    if (req.headers["service-worker"]) return refuse(res, 403, "No service workers here.");
    return this.serve(req, res, student);
  }

  async visitWs(req, socket, head) {
    const student = named(req.url);
    const visit = student !== null && !byToken(req) && this.visits(req, student);
    if (student === null || !(byToken(req) || visit)) return hangUp(socket);
    if (!(await this.runs(req, student))) return hangUp(socket);
    if (visit) this.hold(visit.browser, socket);
    return this.serveWs(req, socket, head, student);
  }

  serve(req, res, student) {
    prepare(req, student);
    return super.handleProxyWeb(req, res);
  }

  serveWs(req, socket, head, student) {
    prepare(req, student);
    return super.handleProxyWs(req, socket, head);
  }

  async runs(req, student) {
    try {
      req.student = student;
      return (await this.targetForReq(req)) !== undefined;
    } catch {
      return false; // an address that cannot be read
    }
  }

  // Who may see which student's server.

  // What the cookie of such a visit says; undefined: there is none.
  visits(req, student) {
    const told = cookies(req).map(([name, value]) => name === this.name("visit") && this.read(value));
    return told.find(
      (each) =>
        each && each.kind === "visit" && each.student === student && this.isHere(req, each) &&
        !this.left.has(each.browser)
    );
  }

  // A host's pages may set cookies for the hosts beside it: what is signed counts here only.
  isHere(req, told) {
    const [, host] = HOST.exec(req.headers.host || "") || [];
    return !this.settings.subdomain_host || told.host === (host || "").toLowerCase();
  }

  hold(browser, socket) {
    const held = this.open.get(browser) || new Set();
    this.open.set(browser, held.add(socket));
    socket.on("close", () => {
      held.delete(socket);
      if (!held.size && this.open.get(browser) === held) this.open.delete(browser);
    });
  }

  enter(req, res) {
    const ticket = this.ticket(req);
    if (!ticket || ticket.kind !== "to visit" || named(ticket.next) !== ticket.student)
      return refuse(res, 403, "This is no ticket.");
    const browser = cookies(req).some(
      ([name, value]) => name === this.name("browser") && digest(value) === ticket.browser
    );
    const now = Date.now() / 1000;
    for (const [id, until] of this.used) if (until < now) this.used.delete(id);
    if (!browser || !this.isHere(req, ticket) || ticket.until < now || this.used.has(ticket.id))
      return redirect(res, this.hub(req, ticket.next)); // which makes another, if it may
    this.used.set(ticket.id, ticket.until);
    const { student, host, browser: whose } = ticket;
    const told = { kind: "visit", student, host, browser: whose, until: now + VISIT_SECONDS };
    const fresh = { "Set-Cookie": this.cookie("visit", this.sign(told)) };
    // What another student's pages left in this browser is not for this one's.
    if (!this.visits(req, ticket.student)) fresh["Clear-Site-Data"] = '"storage"';
    return redirect(res, ticket.next, fresh);
  }

  // Who signs out leaves nothing open here: no page, no websocket, no storage.
  leave(req, res) {
    const ticket = this.ticket(req);
    const now = Date.now() / 1000;
    if (!ticket || ticket.kind !== "to leave") return refuse(res, 403, "This is no ticket.");
    for (const [browser, until] of this.left) if (until < now) this.left.delete(browser);
    this.left.set(ticket.browser, ticket.until + VISIT_SECONDS);
    for (const socket of this.open.get(ticket.browser) || []) socket.destroy();
    return redirect(res, this.hub(req, ticket.next), {
      "Set-Cookie": `${this.cookie("visit", "")}; Max-Age=0`,
      "Clear-Site-Data": '"storage"',
    });
  }

  ticket(req) {
    return this.read(new URLSearchParams(req.url.split("?")[1]).get("ticket") || "", true);
  }

  cookie(of, value) {
    const secure = this.options.ssl ? "; Secure" : "";
    return `${this.name(of)}=${value}; Path=/; HttpOnly; SameSite=Lax${secure}`;
  }

  name(of) {
    // With names, the hub tells the browser's own to all hosts below.
    if (of === "browser" && this.settings.subdomain_host) return "appliance-browser";
    return `${this.options.ssl ? "__Host-" : ""}appliance-${of}`;
  }

  sign(told) {
    const text = Buffer.from(JSON.stringify(told)).toString("base64url");
    return `${text}.${this.seal(text)}`;
  }

  read(signed, late = false) {
    const [text, seal] = signed.split(".");
    const right = Buffer.from(this.seal(text));
    const given = Buffer.from(seal || "");
    if (right.length !== given.length || !crypto.timingSafeEqual(right, given)) return null;
    const told = JSON.parse(Buffer.from(text, "base64url").toString());
    return late || told.until > Date.now() / 1000 ? told : null;
  }

  seal(text) {
    return crypto.createHmac("sha256", this.key).update(text).digest("base64url");
  }

  // The hub's address, as this browser sees it: the ports are as far apart as here.
  hub(req, path) {
    const [, asked, port] = HOST.exec(req.headers.host || "") ||
      [null, "localhost", this.settings.sessions_port];
    const host = this.settings.subdomain_host || asked;
    const usual = this.options.ssl ? 443 : 80;
    const there = Number(port || usual) - this.settings.sessions_port + this.settings.port;
    return `//${host}:${there}${path.startsWith("/") ? path : "/"}`;
  }
}

// The student whose server an address names; null: it is not a server's, or cannot be read.
function named(url) {
  try {
    const student = decodeURIComponent((SERVER.exec(url) || ["", "%"])[1]);
    return student.includes("/") ? null : student;
  } catch {
    return null;
  }
}

// No page makes a browser send this to another origin, and no link does.
function byToken(req) {
  return /^(?:token|bearer) /i.test(req.headers.authorization || "");
}

// A browser that came unencrypted from another machine does not tell.
function navigates(req) {
  const mode = req.headers["sec-fetch-mode"] || "navigate";
  return ["GET", "HEAD"].includes(req.method) && mode === "navigate";
}

function cookies(req) {
  return (req.headers.cookie || "").split(";").map((each) => {
    const at = each.indexOf("=");
    return [each.slice(0, at).trim(), each.slice(at + 1).trim()];
  });
}

// A student's server gets its own cookies: by token none, the token says who asks.
function prepare(req, student) {
  req.student = student;
  const kept = byToken(req) ? [] : cookies(req).filter(([name]) => own(name, student));
  if (kept.length) req.headers.cookie = kept.map((each) => each.join("=")).join("; ");
  else delete req.headers.cookie;
}

function own(name, student) {
  const server = [student, encodeURIComponent(student)].map((each) => `jupyterhub-user-${each}`);
  const plain = name.replace(/^__Host-/, "");
  if (["_xsrf", "jupyterhub-session-id"].includes(plain)) return true;
  return server.some((each) => plain === each || plain.startsWith(`${each}-oauth-state`));
}

// What a student's server may say to a browser; student is undefined where the hub answers.
function clean(headers, student) {
  if (student === undefined) return;
  for (const name of HEADERS) delete headers[name];
  headers["cross-origin-opener-policy"] = "same-origin";
  const set = (headers["set-cookie"] || []).filter((each) => settable(each, student));
  if (set.length) headers["set-cookie"] = set;
  else delete headers["set-cookie"];
}

function settable(cookie, student) {
  const [pair, ...attributes] = cookie.split(";").map((each) => each.trim());
  const name = pair.split("=")[0];
  if (!own(name, student) || name === "jupyterhub-session-id") return false;
  const places = attributes.filter((each) => /^path\s*=/i.test(each));
  if (places.length !== 1 || attributes.some((each) => /^domain\s*=/i.test(each))) return false;
  if (name.startsWith("__Host-jupyterhub-user-")) return true;
  const path = places[0].split("=")[1].trim();
  return [student, encodeURIComponent(student)].some((each) => path.startsWith(`/user/${each}/`));
}

function digest(text) {
  return crypto.createHash("sha256").update(text).digest("hex");
}

function redirect(res, place, headers = {}) {
  res.writeHead(302, { Location: place, "Cache-Control": "no-store", ...headers });
  res.end();
}

function refuse(res, status, message) {
  res.writeHead(status, { "Content-Type": "application/json", "Cache-Control": "no-store" });
  res.end(JSON.stringify({ message }));
}

function hangUp(socket) {
  socket.end("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
}

function main() {
  const settings = JSON.parse(process.argv[2]);
  const log = defaultLogger({ level: "info" });
  const hub = `http://127.0.0.1:${settings.hub_port}`;
  const options = {
    log,
    xfwd: true,
    authToken: process.env.CONFIGPROXY_AUTH_TOKEN,
    defaultTarget: hub,
    errorTarget: `${hub}/hub/error`,
  };
  if (!options.authToken) throw new Error("no token");
  if (settings.certificate)
    options.ssl = { key: fs.readFileSync(settings.key), cert: fs.readFileSync(settings.certificate) };
  const proxy = new Notebook(options, settings);
  for (const server of [proxy.proxyServer, proxy.sessions, proxy.apiServer])
    server.on("error", (error) => { log.error(error.message); process.exit(1); });
  proxy.proxyServer.listen(settings.port, settings.interface);
  proxy.sessions.listen(settings.sessions_port, settings.interface);
  proxy.apiServer.listen(settings.api_port, "127.0.0.1");
  for (const [signal, word] of [["SIGINT", "Interrupted"], ["SIGTERM", "Terminated"]])
    process.on(signal, () => { log.warn(word); process.exit(2); });
  process.on("uncaughtException", (error) => log.error(`Uncaught Exception: ${error.stack}`));
}

main();
