// What makes waiting pleasant. Every page works without it.
"use strict";

(function () {
  const upload = document.getElementById("upload");
  if (upload) uploads(upload, document.getElementById("uploads"));
  const wait = document.getElementById("wait");
  if (wait && window.EventSource) watch(wait);
  const browsed = document.getElementById("browse");
  if (browsed) browse(browsed);
  const captured = document.getElementById("live");
  if (captured) follow(captured);

  // Uploads: one request a file, two at a time, with a bar each.
  function uploads(form, list) {
    const input = form.querySelector("input[type=file]");
    const queue = [];
    let busy = 0;
    const add = (files) => {
      for (const file of files) queue.push(row(file));
      next();
    };
    const next = () => {
      while (busy < 2 && queue.length) {
        busy += 1;
        send(queue.shift(), () => { busy -= 1; next(); });
      }
    };
    form.addEventListener("submit", (event) => {
      if (!input.files.length) return;
      event.preventDefault();
      add(input.files);
      form.reset();
    });
    input.addEventListener("change", () => { add(input.files); form.reset(); });
    for (const name of ["dragenter", "dragover"]) {
      form.addEventListener(name, (event) => { event.preventDefault(); form.classList.add("over"); });
    }
    form.addEventListener("dragleave", (event) => {
      if (!form.contains(event.relatedTarget)) form.classList.remove("over");
    });
    form.addEventListener("drop", (event) => {
      event.preventDefault();
      form.classList.remove("over");
      add(event.dataTransfer.files);
    });

    function row(file) {
      const item = document.createElement("li");
      const name = document.createElement("strong");
      name.textContent = file.name;
      const bar = document.createElement("progress");
      bar.max = 100;
      bar.value = 0;
      bar.setAttribute("aria-label", file.name);
      const words = document.createElement("span");
      const cancel = document.createElement("button");
      cancel.type = "button";
      cancel.className = "quiet";
      cancel.textContent = form.dataset.cancel;
      item.append(name, bar, words, cancel);
      list.append(item);
      const one = { file, item, bar, words, cancel, stop: null };
      cancel.addEventListener("click", () => {
        if (one.stop) return one.stop();
        queue.splice(queue.indexOf(one), 1);
        item.remove();
      });
      return one;
    }

    function send(one, done) {
      const fail = (text) => {
        one.bar.remove();
        one.cancel.remove();
        one.item.classList.add("failed");
        one.words.textContent = text;
        done();
      };
      if (one.file.size > Number(form.dataset.limit)) return fail(form.dataset.tooLarge);
      const body = new FormData();
      body.append("csrf", form.elements.csrf.value);
      body.append("capture", one.file, one.file.name);
      const request = new XMLHttpRequest();
      request.open("POST", form.action);
      request.setRequestHeader("Accept", "application/json");
      request.responseType = "json";
      request.upload.onprogress = (event) => {
        if (!event.lengthComputable) return;
        one.bar.value = 100 * event.loaded / event.total;
        if (event.loaded === event.total) one.words.textContent = form.dataset.checking;
      };
      request.onload = () => {
        const answer = request.response || {};
        if (request.status !== 201 || !answer.location) return fail(answer.detail || form.dataset.failed);
        one.bar.remove();
        one.cancel.remove();
        one.item.classList.add("ready");
        one.words.textContent = "";
        const link = document.createElement("a");
        link.href = answer.location;
        link.textContent = form.dataset.confirm;
        one.words.append(link);
        // One file alone: straight on to its confirmation.
        if (list.children.length === 1 && !queue.length) window.location.assign(answer.location);
        done();
      };
      request.onerror = () => fail(form.dataset.failed);
      request.onabort = () => { one.item.remove(); done(); };
      one.stop = () => request.abort();
      request.send(body);
    }
  }

  // The wait page: events from the server, the result when there is one.
  function watch(page) {
    const at = (id) => document.getElementById(id);
    const set = (id, text) => { if (at(id).textContent !== text) at(id).textContent = text; };
    const events = new EventSource(page.dataset.events);
    events.addEventListener("queued", (event) => set("stage", JSON.parse(event.data).words));
    events.addEventListener("progress", (event) => {
      const now = JSON.parse(event.data);
      set("stage", at("stage").dataset[now.stopping ? "stopping" : now.stage] || "");
      for (const id of ["bytes", "packets", "rate", "flows", "alerts", "left"]) set(id, now[id]);
      at("bar").value = now.percent;
      at("none").hidden = now.found.length > 0;
      for (const alert of now.found.slice(at("sofar").children.length)) {
        const item = document.createElement("li");
        const tag = document.createElement("span");
        tag.className = "tag " + alert.verdict;
        tag.textContent = alert.words;
        item.append(tag, " " + alert.text);
        at("sofar").append(item);
      }
    });
    // Where the server says no for good (the log-in has ended, say), the page itself says why.
    events.addEventListener("error", () => {
      if (events.readyState === EventSource.CLOSED) setTimeout(() => window.location.reload(), 5000);
    });
    events.addEventListener("end", () => { events.close(); window.location.reload(); });
  }

  // A live session: events bring figures, alerts and packets, until it has ended.
  function follow(page) {
    const at = (id) => document.getElementById(id);
    const set = (id, text) => { if (at(id) && at(id).textContent !== text) at(id).textContent = text; };
    const rows = document.querySelector("#rows tbody");
    const pane = rows && rows.closest("[role=region]");
    const MOST = 500;
    const make = (name, css, ...inside) => {
      const one = document.createElement(name);
      one.className = css;
      one.append(...inside);
      return one;
    };
    const down = () => { if (pane) pane.scrollTop = pane.scrollHeight; };
    if (!page.dataset.events || !window.EventSource) return;
    down();

    function addRows(now) {
      // Whoever scrolled up, or walks through the list, is not moved.
      const isFollowing = pane.scrollHeight - pane.scrollTop - pane.clientHeight < 60;
      const last = () => Number(rows.lastElementChild?.querySelector("a")?.textContent || 0);
      const fresh = now.rows.filter((row) => Number(row.number) > last());
      if (now.skipped && fresh.length) {
        const cell = make("td", "dim", page.dataset.skipped);
        cell.colSpan = 7;
        rows.append(make("tr", "", cell));
      }
      for (const row of fresh) {
        const link = make("a", "", row.number);
        link.href = row.link;
        const cells = [link, row.time, row.src, row.dst, row.protocol, row.length, row.info];
        rows.append(make("tr", "", ...cells.map((cell) => make("td", "", cell))));
      }
      while (rows.children.length > MOST && isFollowing) rows.firstElementChild.remove();
      // Of those that wait for somebody who looks elsewhere there are only so many, too.
      while (rows.children.length > 4 * MOST) rows.firstElementChild.remove();
      if (isFollowing) down();
    }

    function addAlert(alert) {
      const tag = make("span", "tag " + alert.verdict, alert.words);
      const first = make("p", "", tag, ` ${alert.text} · ${alert.score} `);
      if (alert.stage) first.append(make("span", "dim", alert.stage));
      const links = make("p", "", page.dataset.packets + " ");
      for (const packet of alert.packets) {
        const link = make("a", "", packet.number);
        link.href = packet.link;
        links.append(link, " ");
      }
      const item = make("li", "alert " + alert.verdict, first);
      if (alert.reasons.length) item.append(make("ul", "", ...alert.reasons.map((words) => make("li", "", words))));
      item.append(links);
      item.id = alert.id;
      const known = at(alert.id);
      if (known) known.replaceWith(item);
      else at("live-found").prepend(item);
      while (at("live-found").children.length > MOST) at("live-found").lastElementChild.remove();
    }

    const events = new EventSource(page.dataset.events);
    events.addEventListener("now", (event) => {
      const now = JSON.parse(event.data);
      for (const [name, text] of Object.entries(now.facts)) set("live-" + name, text);
      set("live-state", now.state);
      if (now.found) set("found", now.found);
      if (now.words) {
        set("live-words", now.words);
        at("live-words").hidden = false;
      }
      for (const alert of now.alerts) addAlert(alert);
      at("live-none").hidden = at("live-found").children.length > 0;
      if (rows && now.rows.length) addRows(now);
    });
    events.addEventListener("error", () => {
      if (events.readyState === EventSource.CLOSED) setTimeout(() => window.location.reload(), 5000);
    });
    events.addEventListener("end", () => { events.close(); window.location.reload(); });
  }

  // Packets: keys move about, the fields light their bytes, and the filter offers names. All of it is links beside that.
  function browse(page) {
    const at = (id) => document.getElementById(id);
    if (page.dataset.again) {
      // Whoever writes something is not interrupted.
      const again = () => (isWriting() ? setTimeout(again, 1000) : window.location.reload());
      setTimeout(again, 1000 * Number(page.dataset.again));
    }
    if (!at("where")) return;
    let asked = 0;
    let lit = null;

    function isWriting() {
      return /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName);
    }

    // Another packet of the list takes the place of the one that is shown.
    async function show(link) {
      const mine = ++asked;
      for (const row of document.querySelectorAll("#rows tr.here")) row.classList.remove("here");
      for (const one of document.querySelectorAll("#rows a[aria-current]")) one.removeAttribute("aria-current");
      link.closest("tr").classList.add("here");
      link.setAttribute("aria-current", "true");
      link.focus();
      link.scrollIntoView({ block: "nearest" });
      try {
        const answer = await fetch(link.href);
        const words = await answer.text();
        if (mine !== asked) return;
        const fresh = new DOMParser().parseFromString(words, "text/html").getElementById("packet");
        if (!answer.ok || !fresh) throw new Error(answer.statusText);
        at("packet").replaceWith(document.adoptNode(fresh));
        lit = null;
        window.history.replaceState(null, "", link.href);
      } catch {
        // The page itself says what is wrong.
        if (mine === asked) window.location.assign(link.href);
      }
    }

    function step(by) {
      const links = [...document.querySelectorAll("#rows tbody a")];
      const here = links.findIndex((link) => link.hasAttribute("aria-current"));
      const next = links[here + by];
      if (next) return show(next);
      const more = at(by > 0 ? "next" : "previous");
      if (more) window.location.assign(more.href);
    }

    // Lights the bytes of a field: in each line, in both columns.
    function light(link) {
      if (lit === link) return;
      lit = link;
      const [from, to] = [Number(link.dataset.from), Number(link.dataset.to)];
      for (const one of document.querySelectorAll("#tree a[aria-current]")) one.removeAttribute("aria-current");
      link.setAttribute("aria-current", "true");
      let first = null;
      for (const [css, wide, gap] of [["hex", 3, 1], ["text", 1, 0]]) {
        document.querySelectorAll("#bytes ." + css).forEach((part, line) => {
          const words = part.textContent;
          const begin = Math.max(from - 16 * line, 0);
          const end = Math.min(to - 16 * line, 16);
          if (end <= begin) {
            if (part.firstElementChild) part.textContent = words;
            return;
          }
          const mark = document.createElement("mark");
          mark.textContent = words.slice(begin * wide, end * wide - gap);
          part.replaceChildren(words.slice(0, begin * wide), mark, words.slice(end * wide - gap));
          first = first || mark;
        });
      }
      const pane = at("bytes").parentElement;
      if (first) pane.scrollTop += first.getBoundingClientRect().top - pane.getBoundingClientRect().top - pane.clientHeight / 3;
    }

    page.addEventListener("click", (event) => {
      const link = event.target.closest("a");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      if (link.closest("#tree")) {
        event.preventDefault();
        light(link);
      } else if (link.closest("#rows")) {
        event.preventDefault();
        show(link);
      }
    });
    page.addEventListener("focusin", (event) => {
      const link = event.target.closest("#tree a");
      if (link) light(link);
    });
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (isWriting()) {
        if (event.key === "Escape") document.activeElement.blur();
        return;
      }
      const field = document.activeElement.closest("#tree a");
      const go = (id) => { if (at(id)) window.location.assign(at(id).href); };
      const along = (by) => {
        if (!field) return step(by);
        const fields = [...document.querySelectorAll("#tree a")];
        const next = fields[fields.indexOf(field) + by];
        if (next) next.focus();
      };
      const keys = {
        j: () => step(1), k: () => step(-1), ArrowDown: () => along(1), ArrowUp: () => along(-1),
        n: () => go("next"), p: () => go("previous"), PageDown: () => go("next"), PageUp: () => go("previous"),
        s: () => go("stream"), g: () => at("at").focus(), "/": () => at("where").focus(),
        t: () => { const first = document.querySelector("#tree a[aria-current], #tree a"); if (first) first.focus(); },
      };
      // Arrows and pages are the browser's own where somebody scrolls, or there is no other page.
      const isScrolling = /^(Arrow|Page)/.test(event.key) && document.activeElement.matches("[role=region]");
      const isLast = event.key.startsWith("Page") && !at(event.key === "PageDown" ? "next" : "previous");
      if (!keys[event.key] || isScrolling || isLast) return;
      event.preventDefault();
      keys[event.key]();
    });

    // Names of fields where the cursor is: the browser offers whole filters, so each is the filter with the name put in.
    const input = at("where");
    let offered = 0;
    input.addEventListener("input", async () => {
      const [text, mine] = [input.value, ++offered];
      const query = new URLSearchParams({ text, cursor: input.selectionStart });
      const answer = await fetch(page.dataset.complete + "?" + query, { headers: { Accept: "application/json" } }).catch(() => null);
      if (!answer || !answer.ok) return;
      const { from, to, fields } = await answer.json();
      if (mine !== offered) return;
      at("fields").replaceChildren(...fields.map(({ name, words }) => {
        const option = document.createElement("option");
        option.value = text.slice(0, from) + name + text.slice(to);
        option.textContent = words;
        return option;
      }));
    });
  }
})();
