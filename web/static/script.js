// What makes waiting pleasant. Every page works without it.
"use strict";

(function () {
  const upload = document.getElementById("upload");
  if (upload) uploads(upload, document.getElementById("uploads"));
  const wait = document.getElementById("wait");
  if (wait && window.EventSource) watch(wait);

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
})();
