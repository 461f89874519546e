(function () {
  "use strict";
  var root = document.documentElement;
  root.classList.add("js", "single");
  var sections = Array.prototype.slice.call(document.querySelectorAll("main section"));
  var links = Array.prototype.slice.call(document.querySelectorAll("nav a"));
  var now = 0;
  var nav = document.querySelector("nav");
  var drawn = document.getElementById("drawn");
  var told = document.getElementById("told");
  function among(part, keys) {
    return part.dataset.keys.split(" ").every(function (key) { return keys.indexOf(key) >= 0; });
  }
  function light(section) {
    var there = section.dataset.there.split(" "), fresh = section.dataset.new.split(" ");
    var left = Infinity, right = -Infinity;
    document.querySelectorAll(".picture .part").forEach(function (part) {
      var is_new = among(part, there) && part.dataset.keys.split(" ").some(function (key) { return fresh.indexOf(key) >= 0; });
      part.classList.toggle("missing", !among(part, there));
      part.classList.toggle("new", is_new);
      if (is_new) {
        left = Math.min(left, part.getBoundingClientRect().left);
        right = Math.max(right, part.getBoundingClientRect().right);
      }
    });
    // On a narrow screen the picture scrolls: bring what is new into sight.
    var frame = drawn.getBoundingClientRect();
    if (right > left) { drawn.scrollLeft += (left + right) / 2 - (frame.left + frame.right) / 2; }
  }
  function measure() {
    root.style.setProperty("--nav", nav.offsetHeight + "px");
    sections[now].querySelectorAll("pre").forEach(function (box) {
      if (box.scrollHeight > box.clientHeight + 1) {
        box.tabIndex = 0;
        box.setAttribute("role", "region");
        box.setAttribute("aria-label", box.parentNode.querySelector("h5").textContent);
      } else {
        box.removeAttribute("tabindex");
        box.removeAttribute("role");
        box.removeAttribute("aria-label");
      }
    });
  }
  function show(number, turned, focus) {
    now = Math.max(0, Math.min(sections.length - 1, number));
    var single = root.classList.contains("single");
    sections.forEach(function (section, index) { section.hidden = single && index !== now; });
    links.forEach(function (link, index) {
      if (index === now) { link.setAttribute("aria-current", "step"); } else { link.removeAttribute("aria-current"); }
    });
    document.getElementById("previous").disabled = now === 0;
    document.getElementById("next").disabled = now === sections.length - 1;
    var heading = sections[now].querySelector("h2");
    told.textContent = heading.textContent + ", " + (now + 1) + " of " + sections.length;
    measure();
    if (turned) {
      history.replaceState(null, "", links[now].hash);
      if (focus) { heading.focus({ preventScroll: true }); }
      var top = single ? drawn.getBoundingClientRect().top - nav.offsetHeight : 0;
      if (!single) { sections[now].scrollIntoView(); } else if (top < 0) { window.scrollBy(0, top); }
    }
    light(sections[now]);
  }
  // With all pages shown, the current one is the last that begins above the bar's lower edge.
  function current() {
    if (root.classList.contains("single")) { return now; }
    var found = 0;
    sections.forEach(function (section, index) {
      if (section.getBoundingClientRect().top <= nav.offsetHeight + 16) { found = index; }
    });
    return found;
  }
  links.forEach(function (link, index) {
    link.addEventListener("click", function (event) { event.preventDefault(); show(index, true, true); });
  });
  document.getElementById("previous").addEventListener("click", function () { show(current() - 1, true, false); });
  document.getElementById("next").addEventListener("click", function () { show(current() + 1, true, false); });
  document.getElementById("all").addEventListener("click", function (event) {
    var reading = current(), single = root.classList.toggle("single");
    event.currentTarget.setAttribute("aria-pressed", String(!single));
    show(reading, true, false);
    sections.forEach(function (section, index) { if (!single) { now = index; measure(); } });
    now = reading;
  });
  document.addEventListener("keydown", function (event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest("pre")) { return; }
    var aside = event.target.closest("figure");
    if (aside && aside.scrollWidth > aside.clientWidth) { return; }
    if (event.key === "ArrowRight") { show(current() + 1, true, true); }
    if (event.key === "ArrowLeft") { show(current() - 1, true, true); }
  });
  // A browser lets a page copy only from a file, or over HTTPS.
  (navigator.clipboard ? document.querySelectorAll("[data-copy]") : []).forEach(function (box) {
    var button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy " + box.dataset.copy);
    button.addEventListener("click", function () {
      var text = box.querySelector("pre").textContent;
      navigator.clipboard.writeText(text).then(function () {
        button.textContent = "Copied";
        told.textContent = "Copied " + box.dataset.copy;
        setTimeout(function () { button.textContent = "Copy"; }, 1500);
      });
    });
    box.insertBefore(button, box.firstChild);
  });
  function named() { return links.map(function (link) { return link.hash; }).indexOf(location.hash); }
  window.addEventListener("hashchange", function () { if (named() >= 0) { show(named(), true, true); } });
  window.addEventListener("resize", function () { measure(); light(sections[now]); });
  // The answers are printed, too.
  var opened = [];
  window.addEventListener("beforeprint", function () {
    opened = Array.prototype.slice.call(document.querySelectorAll("details.answer:not([open])"));
    opened.forEach(function (one) { one.open = true; });
  });
  window.addEventListener("afterprint", function () { opened.forEach(function (one) { one.open = false; }); });
  show(Math.max(0, named()), false, false);
  window.addEventListener("load", function () { setTimeout(function () { window.scrollTo(0, 0); light(sections[now]); }, 0); });
}());
