// What the session uses and what is left, at the right of the top bar, and the way to documentation. A JupyterLab extension
// written by hand as a federated module, so that nothing is built.
(() => {
  let shared;
  const short = bytes => {
    const units = ["B", "K", "M", "G", "T"];
    let unit = 0;
    while (bytes >= 1000 && unit < 4) { bytes /= 1024; unit += 1; }
    return (bytes < 10 && unit > 2 ? bytes.toFixed(1) : Math.round(bytes)) + " " + units[unit];
  };
  const time = seconds => {
    const minutes = Math.floor(seconds / 60);
    return minutes < 60 ? minutes + " min" : Math.floor(minutes / 60) + " h " + (minutes % 60) + " min";
  };
  const part = (name, used, limit) => {
    const span = document.createElement("span");
    span.style.marginLeft = "1em";
    const share = limit ? used / limit : 0;
    if (share > 0.8) { span.style.color = "var(--jp-error-color1, red)"; span.style.fontWeight = "600"; }
    span.textContent = name + " " + short(used) + (limit ? " of " + short(limit) : "");
    return span;
  };
  const show = (node, usage, base) => {
    const spans = [];
    if (usage.memory) spans.push(part("Memory", usage.memory.used, usage.memory.limit));
    if (usage.disk) spans.push(part("Disk", usage.disk.used, usage.disk.limit));
    if (usage.left !== undefined && usage.left !== null) {
      const span = document.createElement("span");
      span.style.marginLeft = "1em";
      if (usage.left < 600) { span.style.color = "var(--jp-error-color1, red)"; span.style.fontWeight = "600"; }
      span.textContent = "Time left " + time(usage.left);
      spans.push(span);
    }
    if (usage.stores) {
      const link = document.createElement("a");
      link.style.cssText = "margin-left:1em;text-decoration:underline";
      link.textContent = "Stores";
      link.href = base + "appliance/stores";
      link.target = "_blank";
      spans.push(link);
    }
    if (usage.message) {
      const span = document.createElement("strong");
      span.textContent = span.title = usage.message;
      spans.unshift(span);
    }
    node.replaceChildren(...spans);
  };
  // A file that cannot fit is refused before its first byte is sent. JupyterLab tells why an upload
  // by its button failed, and a drop's failure only to the console; it shows the same message once.
  const guard = (model, now, tell) => {
    const upload = model.prototype.upload;
    model.prototype.upload = async function (file, ...rest) {
      const { file: largest, disk } = now();
      try {
        if (largest && file.size > largest)
          throw new Error(`${file.name} has ${short(file.size)}; one file may have ${short(largest)} here.`);
        if (disk && disk.limit && file.size > disk.limit - disk.used)
          throw new Error(`${file.name} has ${short(file.size)}, and you have ${short(Math.max(0, disk.limit - disk.used))} left.`);
        return await upload.call(this, file, ...rest);
      } catch (error) {
        if (error instanceof Error) tell("Upload Error", error);
        throw error;
      }
    };
  };
  // In a narrow window the top bar ends before it: there it is at the lower edge.
  const phone = window.matchMedia("(max-width: 760px)");
  const style = `
  #appliance-usage strong { width: 20vw; margin-right: auto; white-space: normal; overflow-wrap: anywhere;
    display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden;
    font-size: 11px; line-height: 13px; }
  @media (max-width: 1000px) {
    #appliance-usage { position: fixed; inset: auto 0 0 0; z-index: 100; flex-wrap: wrap; min-height: 24px;
      background: var(--jp-layout-color2); font-size: 11px !important; }
    #appliance-usage strong { width: auto; -webkit-line-clamp: 9; } }
  @media ${phone.media} {
    #jp-MainMenu { flex: 1 1 0; min-width: 0; overflow-x: auto; }
    #jp-MainMenu .lm-MenuBar-item { padding: 0 3px; font-size: 12px; } }`;
  // On a phone one document fills the window, and the list of files gives way when it is in use.
  const fit = shell => {
    const narrow = phone.matches;
    shell.mode = narrow ? "single-document" : "multiple-document";
    if (shell.isSideTabBarVisible("right") === narrow) shell.toggleSideTabBarVisibility("right");
    if (narrow) { shell.collapseLeft(); shell.collapseRight(); } else shell.expandLeft();
  };
  // Where what stands where is remembered: a phone's own place, or a desktop would find all closed.
  const move = base => {
    const rest = location.pathname.slice((base + "lab").length);
    if (!phone.matches || !/^(\/?|\/tree\/.*)$/.test(rest)) return false;
    location.replace(base + "lab/workspaces/phone" + rest + location.search + location.hash);
    return true;
  };
  // The page says of every kernel that ended by itself that it "appears to have died". What it was that
  // wanted more memory than there is, the account's count of ended processes knows, some seconds later.
  const WAIT = 15000;
  const explain = (last, ask) => new MutationObserver(async () => {
    const body = document.querySelector(".jp-Dialog-body:not([data-explained])");
    if (!body || !body.textContent.includes("appears to have died")) return;
    body.dataset.explained = "asked";
    const began = Date.now();
    while (Date.now() - began < WAIT && body.isConnected) {
      await ask();
      if (last.kill > began - WAIT) {
        const limit = last.limit ? " (" + short(last.limit) + ")" : "";
        body.textContent = "The kernel ran out of memory: it wanted more than this session may have" + limit +
          ", was ended, and starts anew. Your files are safe; what cells had defined is gone. Use less at once," +
          " or close what you do not need (Running, on the far left).";
        return;
      }
      await new Promise(done => setTimeout(done, 1000));
    }
  }).observe(document.body, { childList: true, subtree: true });
  const module = async name => {
    const versions = shared[name];
    return (await versions[Object.keys(versions)[0]].get())();
  };
  const plugin = {
    id: "appliance-usage:plugin",
    autoStart: true,
    activate: async (app, menu, launcher) => {
      const base = JSON.parse(document.getElementById("jupyter-config-data").textContent).baseUrl;
      if (move(base)) return;
      const { Widget } = await module("@lumino/widgets");
      let usage = {};
      const last = { kill: 0, limit: 0 }; // when something was ended for want of memory
      const { showErrorMessage } = await module("@jupyterlab/apputils");
      guard((await module("@jupyterlab/filebrowser")).FileBrowserModel, () => usage, showErrorMessage);
      document.head.appendChild(document.createElement("style")).textContent = style;
      const widget = new Widget();
      widget.id = "appliance-usage";
      widget.node.setAttribute("role", "status");
      widget.node.style.cssText =
        "display:flex;align-items:center;justify-content:flex-end;flex:1 0 max-content;padding:0 12px;" +
        "white-space:nowrap;color:var(--jp-ui-font-color1);font-size:var(--jp-ui-font-size1)";
      app.shell.add(widget, "top", { rank: 900 });
      app.restored.then(() => {
        if (phone.matches) fit(app.shell);
        phone.addEventListener("change", () => fit(app.shell));
        app.shell.activeChanged.connect((shell, { newValue }) => { if (newValue && phone.matches) shell.collapseLeft(); });
      });
      const get = "appliance:download";
      app.commands.addCommand(get, {
        label: "Get a File from the Web…",
        execute: () => { window.open(base + "appliance/download"); },
      });
      const read = "appliance:documentation";
      app.commands.addCommand(read, {
        label: "Documentation",
        caption: "Read and search the documentation of what is installed",
        isVisible: () => Boolean(usage.documentation),
        execute: () => { window.open(base + "appliance/documentation/"); },
      });
      if (menu) menu.helpMenu.addGroup([{ command: read }], -1);
      let offered = false;
      const offer = () => {
        if (!usage.documentation || offered) return;
        offered = true;
        app.commands.notifyCommandChanged(read);
        if (launcher) launcher.add({ command: read, category: "Other", rank: 10 });
      };
      app.contextMenu.addItem({ command: get, selector: ".jp-DirListing-content", rank: 90 });
      const ask = async () => {
        if (document.visibilityState !== "visible") return;
        try {
          const xsrf = document.cookie.split("; ").find(each => each.startsWith("_xsrf=")) || "";
          const headers = { "X-XSRFToken": decodeURIComponent(xsrf.slice(6)) };
          const answer = await fetch(base + "api/appliance/usage", { headers, redirect: "error" });
          if (!answer.ok) return;
          const fresh = await answer.json(), before = usage.memory, now = fresh.memory;
          if (before && now && now.killed > (before.killed || 0)) { last.kill = Date.now(); last.limit = now.limit; }
          show(widget.node, usage = fresh, base);
          offer();
        } catch (error) { /* the page itself says that the server is gone */ }
      };
      ask();
      explain(last, ask);
      setInterval(ask, 5000);
    },
  };
  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB["appliance-usage"] = {
    init: scope => { shared = scope; },
    get: async () => {
      const { IMainMenu } = await module("@jupyterlab/mainmenu"), { ILauncher } = await module("@jupyterlab/launcher");
      plugin.optional = [IMainMenu, ILauncher];
      return () => ({ __esModule: true, default: plugin });
    },
  };
})();
