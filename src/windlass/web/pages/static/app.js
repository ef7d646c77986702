// What pages do by themselves: local times, live updates, keys, charts. Everything else is links and forms.
"use strict";
(function () {
  const root = document.body.dataset.root || "";
  const $ = (selector, of) => (of || document).querySelector(selector);
  const all = (selector, of) => Array.from((of || document).querySelectorAll(selector));

  // ------------------------------------------------------------------------------------------------- times
  const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "always", style: "narrow" });
  function ago(when) {
    const seconds = (when - Date.now()) / 1000;
    const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) || UNITS[3];
    return relative.format(Math.round(seconds / size), unit);
  }
  function tellTimes(of) {
    for (const element of all("time[datetime]", of)) {
      const when = new Date(element.dateTime);
      element.title = element.dateTime;
      element.textContent = element.dataset.as === "full" ? when.toLocaleString() : ago(when);
    }
  }
  setInterval(() => tellTimes(document), 5000);

  // ------------------------------------------------------------------------------------------------ toasts
  function say(text, bad) {
    const toast = document.createElement("div");
    toast.className = bad ? "toast bad" : "toast";
    toast.textContent = text;
    $("#toasts").append(toast);
    setTimeout(() => toast.remove(), bad ? 9000 : 4000);
  }
  // What a page that is left has to say, the next one says.
  document.body.addEventListener("left", (event) => {
    sessionStorage.setItem("windlass-said", event.detail.said);
    location.href = event.detail.to;
  });
  const said = sessionStorage.getItem("windlass-said");
  if (said) { sessionStorage.removeItem("windlass-said"); say(said); }
  function refresh() { htmx.trigger(document.body, "refresh"); }
  document.body.addEventListener("said", (event) => { say(event.detail.value); refresh(); });
  document.body.addEventListener("htmx:afterRequest", (event) => {
    const { xhr, requestConfig, successful } = event.detail;
    if (requestConfig.verb === "get") return;
    if (successful) {
      if (!(xhr.getResponseHeader("HX-Trigger") || xhr.getResponseHeader("HX-Redirect"))) {
        say(requestConfig.elt.dataset.done || "done");
        refresh();
      }
      return;
    }
    let detail = "the server cannot be reached";
    try { detail = JSON.parse(xhr.responseText).detail; } catch { /* not ours */ }
    say(detail, true);
  });

  // -------------------------------------------------------------------------------------------------- live
  // What is new takes the place of what was there piece by piece: focus, the marked row and scrolled places stay.
  Object.assign(Idiomorph.defaults.callbacks, {
    // What somebody has marked or chosen is not the server's to say.
    beforeAttributeUpdated: (name, node) =>
      name !== "data-at" && !(node.id === "chosen" && name === "hidden") && !(name === "checked" && node.form && node.form.id === "chosen"),
    beforeNodeMorphed: (shown, fresh) => {
      if (shown.id === "live") tellTimes(fresh);
      if (!shown.dataset || !shown.dataset.chart || !fresh.dataset.chart) return true;
      if (shown.dataset.chart !== fresh.dataset.chart) {
        shown.dataset.chart = fresh.dataset.chart;
        if (shown.chart) shown.chart.setData(JSON.parse(fresh.dataset.chart).data);
      }
      return false;
    },
  });
  // A page that is looked at, and where nobody writes or marks text just now, shows how things are.
  function idle() {
    const at = document.activeElement;
    const typing = at && /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName) && at.type !== "checkbox" && $("#live").contains(at);
    return !document.hidden && !typing && getSelection().isCollapsed;
  }
  // All pages ask in the same moments of the store's clock, so that what is read for one is there for the others.
  // What has ended changes only if somebody starts it again.
  const every = () => ("still" in $("#live").dataset ? 30000 : 2000);
  const turn = (pulse) => Math.floor((pulse.now ? Date.parse(pulse.now) : Date.now()) / every());
  const dot = $("#connection");
  let last = 0;
  // Only a tab that is looked at listens: of one site a browser opens six connections, whatever the number of tabs.
  let source = null;
  const SOON = 1000;
  function show(state, why) { dot.className = `dot ${state}`; dot.title = why; }
  function listen() {
    if (source || document.hidden || !$("#live")) return;
    clearTimeout(again);
    source = new EventSource(`${root}/api/v1/events`);
    source.addEventListener("pulse", (event) => {
      const pulse = JSON.parse(event.data);
      patience = SOON;
      show(pulse.error ? "off" : "on", pulse.error || "live");
      backlog(pulse);
      if (idle() && turn(pulse) !== last) { last = turn(pulse); refresh(); }
    });
    source.onerror = () => {
      show("off", "the server cannot be reached");
      if (source.readyState === EventSource.CLOSED) { source = null; later(); }  // else it tries by itself
    };
  }
  // A bad answer, such as a proxy's while the server is away, ends a stream for good: it takes a new one. The pause grows,
  // and is not the same for all.
  let again = 0;
  let patience = SOON;
  async function later() {
    again = setTimeout(listen, patience * (0.75 + Math.random() / 2));
    patience = Math.min(patience * 2, 30000);
    const me = await fetch(`${root}/api/v1/me`).catch(() => null);
    if (!me || me.status !== 401) return;
    if (document.body.dataset.login) location.reload();  // which leads to the login, and from there back
    else show("off", "you are not logged in any more");
  }
  function rest() {
    clearTimeout(again);
    if (source) source.close();
    source = null;
    show("", "at rest");
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? rest() : listen()));
  addEventListener("pagehide", rest);
  addEventListener("pageshow", listen);

  // ------------------------------------------------------------------------------------------------ charts
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const minutes = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  const seconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const clock = (_, times, __, ___, step) => times.map((time) => (step < 60 ? seconds : minutes).format(new Date(time * 1000)));
  function draw(element, data, series) {
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    const options = {
      width: element.clientWidth, height: 180, legend: { show: false }, cursor: { y: false },
      scales: { x: { range: (_, low, high) => [Math.min(low, high - 60), high] }, y: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] } },
      axes: [{ ...axis, size: 30, values: clock }, { ...axis, size: 44 }],
      series: [{}, ...series.map(([label, name, fill]) => ({
        label, stroke: colour(name), width: 2, points: { show: false }, fill: fill ? colour(name) + "22" : undefined,
      }))],
    };
    if (element.chart) element.chart.destroy();
    element.chart = new uPlot(options, data, element);
  }
  function charts(anew) {
    for (const element of all("[data-chart]")) {
      if (element.chart && !anew) continue;
      const { data, series } = JSON.parse(element.dataset.chart);
      draw(element, data, series);
    }
  }
  const seen = [[], [], []];
  function backlog(pulse) {
    if (!pulse.now) return;
    seen[0].push(new Date(pulse.now) / 1000); seen[1].push(pulse.ready); seen[2].push(pulse.running);
    if (seen[0].length > 600) seen.forEach((one) => one.shift());
    drawBacklog();
  }
  function drawBacklog(anew) {
    const element = $("#backlog-chart");
    if (!element || seen[0].length < 2) return;
    if (element.chart && !anew) element.chart.setData(seen);
    else draw(element, seen, [["ready", "--warn", true], ["running", "--busy", true]]);
  }
  function drawAll() { charts(true); drawBacklog(true); }
  addEventListener("resize", drawAll);

  // ------------------------------------------------------------------------------------------------ choosing
  const boxes = () => all('input[name="ids"]');
  function choose() {
    const form = $("#chosen");
    if (!form) return;
    const count = boxes().filter((box) => box.checked).length;
    form.hidden = !count;
    $("span", form).textContent = `${count} chosen`;
    const whole = $("input[data-all]");
    whole.checked = count > 0 && count === boxes().length;
    whole.indeterminate = count > 0 && !whole.checked;
  }
  document.addEventListener("change", (event) => {
    if (event.target.matches("input[data-all]")) for (const box of boxes()) box.checked = event.target.checked;
    if (event.target.matches('input[data-all], input[name="ids"]')) choose();
  });
  document.body.addEventListener("said", () => { for (const box of boxes()) box.checked = false; choose(); });

  // -------------------------------------------------------------------------------------------------- keys
  let after = "";
  const rows = () => all("tbody tr[data-href]");
  function step(by) {
    const list = rows();
    if (!list.length) return;
    const at = list.findIndex((row) => "at" in row.dataset);
    if (at >= 0) delete list[at].dataset.at;
    const next = list[Math.max(0, Math.min(list.length - 1, at + by))];
    next.dataset.at = "";
    next.scrollIntoView({ block: "nearest" });
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) { if (event.key === "Escape") event.target.blur(); return; }
    const key = event.key;
    if (after === "g") {
      after = "";
      const link = $(`nav.side a[data-key="${CSS.escape(key)}"]`);
      if (link) location.href = link.href;
      return;
    }
    if (key === "g") { after = "g"; setTimeout(() => { after = ""; }, 1200); }
    else if (key === "/" && $("#search")) { event.preventDefault(); $("#search").focus(); }
    else if (key === "j") step(1);
    else if (key === "k") step(-1);
    else if (key === "Enter" && $("tr[data-at]") && event.target === document.body) location.href = $("tr[data-at]").dataset.href;
    else if (key === "?") $("#keys").showModal();
    else if (key === "t") flip();
  });
  function flip() {
    const now = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = now;
    localStorage.setItem("windlass-theme", now);
    drawAll();
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    if (!button) return;
    if (button.dataset.do === "theme") flip();
    if (button.dataset.do === "keys") $("#keys").showModal();
  });

  document.body.addEventListener("htmx:afterSettle", (event) => { tellTimes(event.target); charts(); choose(); });
  tellTimes(document);
  charts();
})();
