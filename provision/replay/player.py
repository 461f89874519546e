"""Plays a transcript in the terminal: the run's pages and what happened, without AWS and without a network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.text import Text

from provision import Step
from provision.aws.waiting import Wait
from provision.lesson.call import FACES, faces
from provision.lesson.page import Page, names, read
from provision.lesson.views import show_call, show_drawing, show_markdown, show_page
from provision.record.recording import Recording, invented
from provision.record.views import WaitLines, show_hop, show_outcome, show_step_ended, show_test, show_took
from provision.replay.scenes import LONGEST_SILENCE, Scene, existing, is_seen, results, scenes, seconds_of
from provision.terminal.screen import Screen

SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
HELP = (
    "space: pause or play; n and b, or right and left: next and previous step; 1-8: that step; "
    ". and , or down and up: one event on or back; + and -: faster and slower; "
    "f: show the calls as console, boto3 or aws; t: the lesson's text and its question; a: the answer; "
    "d: the picture of what there is so far; p: notes for the presenter; ?: all keys; q: quit"
)

# What follows the state: the first of these that there is room for.
KEYS = (
    "space: pause   n b: step   . ,: event   + -: speed   ?: keys   q: quit",
    "space: pause   n b: step   ?: keys   q: quit",
    "space: pause   ?: keys   q: quit",
    "?: keys   q: quit",
    "?: keys",
)
# What of a step's page each key shows, by its heading. The lesson itself has the same keys for the last two.
LESSON = {
    "t": {"Why now": "why_now", "In the console": "console", "To think about": "question"},
    "a": {"The answer": "answer"},
    "p": {"For the presenter": "presenter"},
}


class Show:
    """Shows events on the screen, as the run did."""

    def __init__(self, recording: Recording, screen: Screen, *, with_faces: bool = False) -> None:
        self.recording = recording
        self.screen = screen
        self.waits = WaitLines(screen)
        self.faces: tuple[str, ...] = FACES if with_faces else ()  # of each call; without any only its name is shown
        header = recording.header
        for value, name in invented(recording).items():
            screen.hide(value, name)
        self.names = names(
            recording.settings, account=header["account"], region=header["region"], partition=header["partition"]
        )

    def opening(self) -> None:
        header, screen = self.recording.header, self.screen
        screen.keep(f"Recorded       {header['program']} of {header['started'][:19].replace('T', ' ')} UTC", "bold")
        screen.keep(f"Account        {header['account']}, Region {header['region']}")
        if header.get("endpoint"):
            screen.keep(f"Endpoint       {header['endpoint']}, which is not AWS")
        screen.keep(f"Deployment     {header['deployment']}")
        if "sittings" in header:
            screen.keep(
                f"Sittings       {header['sittings']}, the last {header['last_started'][:16].replace('T', ' ')} UTC"
            )
        if self.recording.ended is None:
            screen.warn("The run was killed: what it did last may be missing.")

    def begin(self, scene: Scene) -> None:
        show_page(self.screen, scene.title)
        if scene.step is not None and self.recording.header["program"] == "provision":
            show_markdown(self.screen, self.page(scene.step).purpose)
        self.waits.begin()

    def page(self, step: Step) -> Page:
        return read(step.name, self.names)

    def event(self, scene: Scene, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind == "call":
            self.call(scene, event)
        elif kind == "wait":
            self.waits.show(Wait(**{name: event[name] for name in ("reason", "means", "words", "elapsed", "budget")}))
        elif kind == "done" and scene.step is not None:
            made = [results(one) for one in event["happened"]]
            show_step_ended(self.screen, scene.step, made, self.recording.settings)
            took = seconds_of(scene)
            if self.screen.presenting and took is not None:
                show_took(self.screen, took)
        elif kind == "hop":
            hop = {name: event[name] for name in ("route", "place", "after", "took", "source", "saw")}
            of_route = [one for one in scene.events if one["type"] == "hop" and one["route"] == hop["route"]]
            show_hop(self.screen, **hop, is_first=event is of_route[0])
        elif kind == "trial":
            show_test(self.screen, event["title"], event["saw"])
        elif kind == "removed":
            show_outcome(self.screen, event["word"], event["kind"], event["identity"], event["remark"])
        elif kind == "ended":
            self.ended(event)

    def call(self, scene: Scene, event: dict[str, Any]) -> None:
        if event["read"]:
            return
        if self.faces:
            page = self.page(scene.step) if scene.step is not None else None
            show_call(self.screen, event, faces(event, page, region=self.recording.header["region"]), *self.faces)
        else:
            sent = f", sent {event['sent']} times" if event["sent"] > 1 else ""
            error = f"  refused: {event['error']['code']}" if event["error"] else ""
            self.screen.keep(
                f"    call       {event['service']} {event['operation']}  ({event['seconds']:.2f} s{sent}){error}",
                "dim",
            )

    def picture(self, so_far: list[dict[str, Any]]) -> None:
        self.screen.heading("What there is so far")
        there = existing(self.recording, so_far)
        show_drawing(self.screen, self.recording.settings, there)

    def lesson(self, scene: Scene, key: str) -> None:
        """The part of the step's page that belongs to a key."""
        if scene.step is None or self.recording.header["program"] != "provision":
            self.screen.say("Only the steps of a build have a page with text, an answer and notes.", "dim")
            return
        page = self.page(scene.step)
        for heading, part in LESSON[key].items():
            self.screen.heading(heading)
            show_markdown(self.screen, getattr(page, part))

    def ended(self, event: dict[str, Any]) -> None:
        stop = event.get("stop")
        self.screen.say()
        if stop:
            self.screen.say(stop["what"], "bold red")
            if stop["means"]:
                self.screen.prose("  What it means: ", stop["means"])
            for advice in stop["advice"]:
                self.screen.keep(f"  What to do:    {advice}")
        self.screen.say(f"{event['at']:.1f} s, {event['calls']} API calls, {event['writes']} of them writing.", "dim")


def print_all(show: Show) -> None:
    """The whole run at once, for a pipe, and for whoever wants nothing to move."""
    show.opening()
    for scene in scenes(show.recording):
        show.begin(scene)
        for event in scene.events:
            show.event(scene, event)


class Player:
    """Plays at the speed of the run, with long silences shortened, and goes where the keys say.

    `next_key` waits at most so many seconds for a key and returns it, "" when none was pressed.
    """

    def __init__(
        self,
        show: Show,
        next_key: Callable[[float], str],
        *,
        speed: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.show = show
        self.screen = show.screen
        self.next_key = next_key
        self.clock = clock
        self.speed = speed
        self.scenes = scenes(show.recording)
        self.times = times(self.scenes)
        self.length = self.times[-1][-1] if self.times and self.times[-1] else 0.0
        self.scene = 0
        self.event = 0  # the next one of the scene
        self.now = 0.0  # seconds of the shortened recording
        self.paused = False
        by_keys: dict[tuple[str, ...], Callable[[], None]] = {
            (" ",): self.pause,
            ("n", "KEY_RIGHT", "KEY_PGDOWN"): lambda: self.go_to(self.scene + 1),
            ("b", "KEY_LEFT", "KEY_PGUP"): lambda: self.go_to(self.scene - 1),
            (".", "KEY_DOWN"): self.step_forward,
            (",", "KEY_UP"): self.step_back,
            ("+", "="): lambda: self.change_speed(1),
            ("-",): lambda: self.change_speed(-1),
            ("f",): self.turn_faces,
            ("d",): lambda: self.show.picture(self.shown()),
            ("?", "h"): lambda: self.screen.say(HELP, "dim"),
        }
        self.actions = {key: action for keys, action in by_keys.items() for key in keys}

    def play(self, tell_state: Callable[[str], None]) -> None:
        """Play until the person quits; at the end of the run one can still go back.

        `tell_state` gets the line that says where it is.
        """
        self.show.opening()
        self.show.begin(self.page)
        last = self.clock()
        state = ""
        size = self.screen.talk.size
        while (key := self.next_key(0.05)) != "q":
            now = self.clock()
            if self.screen.talk.size != size:
                size, state = self.screen.talk.size, ""
                tell_state("")  # a terminal that folds its lines anew has it in two rows now
                self.redraw()
            if not self.paused:
                self.now = min(self.now + (now - last) * self.speed, self.length)
            last = now
            if key:
                self.press(key)
            self.show_what_is_due()
            if self.state() != state:
                state = self.state()
                tell_state(state)

    # Where it is.

    @property
    def page(self) -> Scene:
        return self.scenes[self.scene]

    def show_what_is_due(self) -> None:
        while True:
            events, due = self.page.events, self.times[self.scene]
            while self.event < len(events) and due[self.event] <= self.now:
                self.show.event(self.page, events[self.event])
                self.event += 1
            if self.event < len(events) or self.scene + 1 == len(self.scenes):
                return
            if self.times[self.scene + 1] and self.times[self.scene + 1][0] > self.now:
                return
            self.scene, self.event = self.scene + 1, 0
            self.show.begin(self.page)

    def go_to(self, scene: int, event: int = 0) -> None:
        """Begin a page anew, with its first events shown already."""
        self.scene = max(0, min(scene, len(self.scenes) - 1))
        self.event = max(0, min(event, len(self.page.events)))
        due = self.times[self.scene]
        self.now = due[max(self.event - 1, 0)] if due else self.now
        self.redraw()

    def redraw(self) -> None:
        """The page anew, as far as it was shown."""
        self.screen.clear()
        self.show.begin(self.page)
        for one in self.page.events[: self.event]:
            self.show.event(self.page, one)

    def shown(self) -> list[dict[str, Any]]:
        """All events of the run until now."""
        before = [event for scene in self.scenes[: self.scene] for event in scene.events]
        return before + self.page.events[: self.event]

    # What a person may do.

    def press(self, key: str) -> None:
        if key in self.actions:
            self.actions[key]()
        elif key in LESSON:
            self.show.lesson(self.page, key)
        else:
            for number, scene in enumerate(self.scenes):
                if scene.step is not None and str(scene.step.number) == key:
                    self.go_to(number)
                    return

    def pause(self) -> None:
        self.paused = not self.paused

    def change_speed(self, by: int) -> None:
        """To the next of the speeds that is faster (1) or slower (-1)."""
        self.speed = next((speed for speed in SPEEDS[::by] if (speed - self.speed) * by > 0), self.speed)

    def turn_faces(self) -> None:
        """To the next face of the calls, and after the last to none."""
        one_by_one: tuple[tuple[str, ...], ...] = ((), *((face,) for face in FACES), ())
        shown = self.show.faces if self.show.faces in one_by_one else one_by_one[-2]
        self.show.faces = one_by_one[one_by_one.index(shown) + 1]
        self.redraw()

    def step_forward(self) -> None:
        """Pause, and show the next event that can be seen."""
        self.paused = True
        events, due = self.page.events, self.times[self.scene]
        while self.event < len(events):
            one = events[self.event]
            self.now = max(self.now, due[self.event])
            self.show.event(self.page, one)
            self.event += 1
            if is_seen(one):
                return
        if self.scene + 1 < len(self.scenes):
            self.go_to(self.scene + 1)

    def step_back(self) -> None:
        self.paused = True
        seen = [number for number, event in enumerate(self.page.events[: self.event]) if is_seen(event)]
        if seen:
            self.go_to(self.scene, seen[-1])
        elif self.scene:
            self.go_to(self.scene - 1, len(self.scenes[self.scene - 1].events))

    def state(self) -> str:
        at_end = self.now >= self.length and self.scene + 1 == len(self.scenes)
        state = "paused" if self.paused else "the end" if at_end else "playing"
        step = self.page.step
        page = f"step {step.number} of 8" if step is not None else f"page {self.scene + 1} of {len(self.scenes)}"
        so_far = f"{self.now:.0f} of {self.length:.0f} s"
        begin = f" {state}  {page}  {so_far}  x{self.speed:g}"
        room = self.screen.talk.width - 1
        keys = next((keys for keys in KEYS if len(begin) + len(keys) + 4 <= room), "")
        return f"{begin}   {keys} " if keys else f"{begin} "


def times(all_scenes: list[Scene]) -> list[list[float]]:
    """When each event of each scene is due, in seconds from the beginning, with long silences shortened."""
    result = []
    now = last = 0.0
    for scene in all_scenes:
        due = []
        for event in scene.events:
            at = max(last, event["at"] + event.get("seconds", 0.0))
            now += min(at - last, LONGEST_SILENCE)
            last = at
            due.append(now)
        result.append(due)
    return result


def play(show: Show, *, speed: float = 1.0) -> None:
    """In a terminal: with keys, until the person quits."""
    import blessed  # it takes time to import, which only a terminal needs

    # blessed reads keys only where the stream is the real one; a mask may stand before it. It is here for its keys:
    # with styling it would ask the terminal what it can, which some show as text, and a late answer would be keys.
    stream = getattr(show.screen.talk.file, "file", show.screen.talk.file)
    terminal = blessed.Terminal(stream=stream, force_styling=None)

    def next_key(seconds: float) -> str:
        key = terminal.inkey(timeout=seconds)
        return key.name or str(key)

    with terminal.cbreak(), state_line(show.screen) as tell_state:
        Player(show, next_key, speed=speed).play(tell_state)


@contextmanager
def state_line(screen: Screen) -> Iterator[Callable[[str], None]]:
    """A line that stays below everything else inside the block, and a function that changes it."""
    from rich.live import Live  # as above

    with Live(Text(""), console=screen.talk, auto_refresh=False, transient=True) as live:
        yield lambda text: live.update(Text(text, style="reverse", no_wrap=True, overflow="ellipsis"), refresh=True)
