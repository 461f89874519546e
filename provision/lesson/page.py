"""Reads the page of a step: Markdown that a trainer may change without touching code.

A page has these headings:

    # Title
    ## What it is for
    ## Why now
    ## In the console
    ## Prediction           (optional)
    ## Code                 (optional)
    ## Question
    ## Answer
    ## For the presenter
    ## Call by call
    ## Calls that update    (optional)
    ## What is checked      (optional)

A section with any other heading is a trainer's own. It is shown where it stands: before the question, or with the
answer when it stands behind it.

A prediction is a question before the step, with a table of answers, which AWS's own answers judge:

    | answer | if AWS says |
    | --- | --- |
    | It is being made | CREATING |
    | It is ready | ACTIVE |

    Judged by `CreateTable`: `[0].answer.TableDescription.TableStatus`

The second text is a JMESPath into the list of the step's calls of that name, as a transcript has them; "nothing" in the
table stands for null, * for everything else. A paragraph below that line is for a local AWS that answers otherwise:

    On AWS: `CREATING`. The local AWS is ready at once.

Its first code is AWS's answer, which is right, too.

"Code" is a table of what the key for the code shows, part by part: a title, a file beside provision/ and names in it,
and what to see there. Without it the parts are the step's functions that create.

    | part | where | what to see |
    | --- | --- | --- |
    | The table | provision/table.py: create_table | one call, one parameter a line |

"What is checked" is a table: resource, attribute, why it matters, what to do (checked.py finds its rows).

"Call by call" and "Calls that update" say, under the name of each writing call, what the console asks for instead.

    ### CreateTable
    DynamoDB > Tables > Create table

    | field | value | parameter |
    | --- | --- | --- |
    | Table name | {table} | TableName |
    | Capacity mode | On-demand | BillingMode = PAY_PER_REQUEST |

    - `TableDescription.TableStatus`: what this part of the answer means

The third column is a JMESPath into the call's parameters (https://jmespath.org). The parameter has the second column's
value, or what follows " = "; "= *" stands for an id that AWS invented. A row without a parameter is for the console
alone. "(unasked)" after the call's name: the console makes the call without being asked. "(not in the walkthrough)":
the suite makes the call, and the walkthrough does not. Of several tables for one call, the first that fits all
parameters counts.

{table}, {queue}, {account}, ... are replaced by the names and values of the deployment (`names`). A block quote, a
field or a path that begins with "Corrected:" is left out with `--as-written`; one that begins with "As written:" is
shown only then, and one that begins with "With a key:" with `--auth api-key`. Without its path the whole call is left
out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from markdown_it import MarkdownIt
from markdown_it.token import Token

from provision import BESIDE
from provision.documents import policy_document
from provision.lesson import prediction, source
from provision.lesson.prediction import Prediction
from provision.lesson.source import Part
from provision.lesson.tables import rows_of
from provision.lesson.terms import ENGLISH, Terms
from provision.settings import Settings
from provision.terminal import outcome

CALLS = "Call by call"
REQUIRED = ("What it is for", "Why now", "In the console", "Question", "Answer", "For the presenter", CALLS)
UPDATES = "Calls that update"
PREDICTION = "Prediction"
CODE = "Code"
CHECKS = "What is checked"
SECTIONS = (*REQUIRED, PREDICTION, CODE, UPDATES, CHECKS)
MARKS = ("unasked", "not in the walkthrough")
VARIANTS = ("Corrected: ", "As written: ", "With a key: ")
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
ANY = "*"


class BadPage(outcome.UserError):
    """A page that cannot be read; the message says where."""

    exit_code = outcome.USAGE

    def __init__(self, page: str, what: str) -> None:
        super().__init__(
            f"The lesson's page {page}: {what}",
            means="The page cannot be shown. The rest of the lesson works, and nothing was changed.",
            advice=("Correct the page; provision/lesson/page.py says how one is written.",),
        )


@dataclass(frozen=True)
class ConsoleFace:
    """What the console asks for instead of one call.

    `rows` are (field, value, parameter). `answer` are pairs: a JMESPath into the answer, and what is found there means.
    `updates`: the call is made only where somebody has changed a resource.
    """

    operation: str
    mark: str
    updates: bool
    path: str
    rows: tuple[tuple[str, str, str], ...]
    answer: tuple[tuple[str, str], ...]

    def fits(self, parameters: Mapping[str, Any]) -> bool:
        return all(not parameter or fits(value, parameter, parameters) for _, value, parameter in self.rows)

    def lines(self) -> list[str]:
        """The path, and a line for each field; a document has its lines below its field."""
        lines = [self.path]
        width = max((len(name) for name, value, _ in self.rows if not is_document(value)), default=0)
        for name, value, _ in self.rows:
            if is_document(value):
                lines.append(f"{name}:")
                lines += [f"    {line}" for line in json.dumps(json.loads(value), indent=2).splitlines()]
            else:
                lines.append(f"{name + ':':<{width + 1}} {value}".rstrip())
        return lines


@dataclass(frozen=True)
class Page:
    """A step's page. The texts are Markdown, with the deployment's names filled in."""

    title: str
    purpose: str
    why_now: str
    console: str
    question: str
    answer: str
    presenter: str
    # By resource and attribute: why it matters, and what to do where it is not as it should be.
    checks: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    console_faces: list[ConsoleFace] = field(default_factory=list)
    prediction: Prediction | None = None
    parts: list[Part] = field(default_factory=list)
    own: list[tuple[str, str, bool]] = field(default_factory=list)  # heading, text, whether it comes with the answer

    def console_face(self, operation: str, parameters: Mapping[str, Any]) -> ConsoleFace | None:
        """What the page says of a call with these parameters: the first table that fits them."""
        faces = (face for face in self.console_faces if face.operation == operation and face.fits(parameters))
        return next(faces, None)


def fits(value: str, parameter: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a row is true of a call."""
    expression, _, wanted = parameter.partition(" = ")
    found = jmespath.search(expression, parameters)
    wanted = wanted.strip() or value
    return found is not None and (wanted == ANY or str(found) == wanted or as_json(found) == as_json(wanted))


def as_json(value: Any) -> Any:
    """What a text says as JSON; everything else as it is."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def is_document(value: str) -> bool:
    return isinstance(as_json(value), dict)


def names(settings: Settings, *, account: str, region: str, partition: str = "aws") -> dict[str, str]:
    """Everything that a page may name, by its name: the settings, the place, ARNs and filled-in documents."""
    values = {name: getattr(settings, name) for name in dir(settings) if not name.startswith("_")}
    own = {name: str(value) for name, value in values.items() if isinstance(value, (str, int))}

    def arn(service: str, name: str, where: str = region) -> str:
        return f"arn:{partition}:{service}:{where}:{account}:{name}"

    place = Where(partition, region, account)
    documents = {
        "write_document": "Lambda-Write-DynamoDB",
        "read_document": "Lambda-Read-SQS",
        "trust_lambda": "trust-lambda",
        "trust_apigateway": "trust-apigateway",
        "queue_document": "POC-Queue",
    }
    statements = policy_document("POC-Queue", place, settings)["Statement"]
    return {
        **own,
        "account": account,
        "region": region,
        "partition": partition,
        "variant": "as written" if settings.as_written else "corrected",
        "with_key": "with a key" if settings.needs_api_key else "",
        "api_key_required": "yes" if settings.needs_api_key else "no",
        "environment": json.dumps(settings.environment),
        "log_retention": str(settings.log_retention or "Never expire"),
        "function_response_types_document": json.dumps(settings.function_response_types),
        "tls_statement": json.dumps(statements[-1]),
        "scaling_document": json.dumps(settings.scaling_config),
        "throttle_rate": str(settings.throttle_rate or "the account's"),
        "throttle_burst": str(settings.throttle_burst or "the account's"),
        "maximum_concurrency": str(settings.maximum_concurrency or "none"),
        "report_batch_item_failures": "yes" if settings.function_response_types else "no",
        "redrive_document": json.dumps(
            {
                "deadLetterTargetArn": arn("sqs", settings.dead_letter_queue),
                "maxReceiveCount": settings.max_receive_count,
            }
        ),
        "direct_uri": (
            f"arn:{partition}:apigateway:{region}:lambda:path/2015-03-31/functions/"
            f"{arn('lambda', f'function:{settings.function}')}/invocations"
        ),
        "queue_uri": f"arn:{partition}:apigateway:{region}:sqs:path/{account}/{settings.queue}",
        "managed_policy_name": settings.managed_policy.rpartition("/")[2],
        "managed_policy_arn": f"arn:{partition}:iam::aws:policy/{settings.managed_policy}",
        "write_policy_arn": arn("iam", f"policy/{settings.write_policy}", ""),
        "read_policy_arn": arn("iam", f"policy/{settings.read_policy}", ""),
        "function_role_arn": arn("iam", f"role/{settings.function_role}", ""),
        "api_role_arn": arn("iam", f"role/{settings.api_role}", ""),
        "table_arn": arn("dynamodb", f"table/{settings.table}"),
        "queue_arn": arn("sqs", settings.queue),
        "dead_letter_retention_days": str(settings.dead_letter_retention // 86400),
        "dead_letter_queue_arn": arn("sqs", settings.dead_letter_queue),
        "function_arn": arn("lambda", f"function:{settings.function}"),
        **{name: json.dumps(policy_document(file, place, settings)) for name, file in documents.items()},
    }


@dataclass(frozen=True)
class Where:
    """Where a deployment is, as policy documents name it."""

    partition: str
    region: str
    account_id: str


def read(step: str, names: Mapping[str, str], *, folder: Path | None = None, terms: Terms = ENGLISH) -> Page:
    """The page of a step, with these names filled in; from a trainer's own folder where it has one.

    Raises BadPage.
    """
    page = f"{step}.md"
    return parsed(page, text_of(page, folder), names, terms)


def text_of(page: str, folder: Path | None = None) -> str:
    """The text of a file of the lesson: the trainer's own, or the package's. Raises BadPage."""
    path = BESIDE / "lessons" / page
    if folder is not None and (folder / page).exists():
        path = folder / page
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadPage(page, f"it cannot be read ({error}).") from error


def parsed(page: str, text: str, names: Mapping[str, str], terms: Terms = ENGLISH) -> Page:
    """The page that a text says. Raises BadPage."""
    check_names(page, text, names)
    lines = text.splitlines()
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    begins = [number for number, token in enumerate(tokens) if token.type == "heading_open"]
    sections, begin_at = dict[str, str](), dict[str, int]()
    title, section, faces = "", "", list[ConsoleFace]()
    for begin, end in pairwise([*begins, len(tokens)]):
        line, heading, level = line_of(tokens, begin, lines), tokens[begin + 1].content, tokens[begin].tag
        if level == "h1":
            title = heading
        elif level == "h2":
            section = terms.english(heading)
            sections[section] = "\n".join(lines[line : line_of(tokens, end, lines) - 1]).strip()
            begin_at[section] = line
        elif section in (CALLS, UPDATES):
            updates = section == UPDATES
            face = console_face(page, line, heading, tokens[begin + 3 : end], names, updates=updates)
            faces += [face] if face is not None else []
    missing = [heading for heading in REQUIRED if heading not in sections]
    if missing or not title:
        own = [f" Line {begin_at[name]} has {name!r}." for name in sections if name not in SECTIONS]
        what = repr(missing[0]) if missing else "of the first level"
        raise BadPage(page, f"the heading {what} is missing.{''.join(own)}")
    texts = {
        name: filled(for_variant(text, names), names) for name, text in sections.items() if name not in (CALLS, UPDATES)
    }
    purpose, why_now, console, question, answer, presenter = (texts[name] for name in REQUIRED if name != CALLS)
    return Page(
        title,
        purpose,
        why_now,
        console,
        question,
        answer,
        presenter,
        special(page, CHECKS, texts, begin_at, checks) or {},
        faces,
        prediction=special(page, PREDICTION, texts, begin_at, prediction.parse),
        parts=special(page, CODE, texts, begin_at, source.parse) or [],
        own=[(name, texts[name], is_behind(name, sections)) for name in sections if name not in SECTIONS],
    )


def with_names(page: str, text: str, names: Mapping[str, str]) -> str:
    """A text without sections of its own, with its names filled in. Raises BadPage."""
    check_names(page, text, names)
    return filled(for_variant(text, names), names)


def check_names(page: str, text: str, names: Mapping[str, str]) -> None:
    """Raises BadPage with the line of a {name} that there is not."""
    for number, line in enumerate(text.splitlines(), start=1):
        for name in PLACEHOLDER.findall(line):
            if name not in names:
                known = ", ".join(sorted(names))
                raise BadPage(page, f"line {number}: nothing is called {{{name}}}; there are {known}.")


def special(
    page: str, heading: str, texts: Mapping[str, str], begin_at: Mapping[str, int], parse: Callable[[str], Any]
) -> Any:
    """What a section that has a form of its own says; None without such a section."""
    if heading not in texts:
        return None
    try:
        return parse(texts[heading])
    except ValueError as error:
        raise BadPage(page, f"the section of line {begin_at[heading]}, {heading!r}, {error}.") from error


def checks(text: str) -> dict[tuple[str, str], tuple[str, str]]:
    """By resource and attribute, why it matters and what to do. Raises ValueError."""
    rows = rows_of(text.replace("`", ""))
    if any(len(row) != 4 for row in rows):
        raise ValueError("has a row without four cells")
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}


def is_behind(heading: str, sections: Mapping[str, str]) -> bool:
    """Whether a section stands behind the question's answer."""
    order = list(sections)
    return order.index(heading) > order.index("Answer")


def line_of(tokens: Sequence[Token], number: int, lines: Sequence[str]) -> int:
    """In which line a token begins, counted from 1; behind the last token it is the line after the end."""
    place = tokens[number].map if number < len(tokens) else None
    return (place[0] if place is not None else len(lines)) + 1


def for_variant(text: str, names: Mapping[str, str]) -> str:
    """The text without the block quotes of other variants; those of this one as plain paragraphs."""
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", text):
        variant = re.match(r"> *(Corrected|As written|With a key): *", paragraph)
        if variant is None:
            paragraphs.append(paragraph)
        elif is_shown(variant[1].lower(), names):
            paragraphs.append(re.sub(r"^> ?", "", paragraph[variant.end() :], flags=re.MULTILINE))
    return "\n\n".join(paragraphs)


def is_shown(variant: str, names: Mapping[str, str]) -> bool:
    """Whether what is of this variant is shown; "" is of every one."""
    return variant in ("", names["variant"], names["with_key"])


def console_face(
    page: str, line: int, heading: str, tokens: Sequence[Token], names: Mapping[str, str], *, updates: bool
) -> ConsoleFace | None:
    """What a page says of one call; None where that is of the other variant."""
    operation, _, mark = heading.partition(" (")
    mark = mark.removesuffix(")")
    if mark and mark not in MARKS:
        raise BadPage(page, f"line {line} has the mark {mark!r}; there are {', '.join(MARKS)}.")
    path, rows, answer = "", list[tuple[str, str, str]](), list[tuple[str, str]]()
    cells = list[str]()
    for number, token in enumerate(tokens):
        inside = tokens[number - 1].type if number else ""
        if token.type == "inline" and inside == "paragraph_open":
            if number > 1 and tokens[number - 2].type == "list_item_open":
                answer.append(answer_of(page, line, token))
            else:
                path = filled(token.content.replace("\n", " "), names)
        elif token.type == "inline" and inside == "td_open":
            cells.append(token.content.strip())
        elif token.type == "tr_close" and cells:
            if len(cells) != 3:
                raise BadPage(page, f"below line {line} a row has {len(cells)} cells and not three.")
            variant, name = variant_of(cells[0])
            if is_shown(variant, names):
                value, parameter = (filled(cell.replace("`", ""), names) for cell in cells[1:])
                rows.append((name, value, checked(page, line, parameter)))
            cells = []
    if not path:
        raise BadPage(page, f"line {line} does not say where in the console {operation} is.")
    variant, path = variant_of(path)
    if not is_shown(variant, names):
        return None
    return ConsoleFace(operation, mark, updates, path, tuple(rows), tuple(answer))


def variant_of(text: str) -> tuple[str, str]:
    """The variant that a text is of, in lower case, and the text without it; "" where it is of both."""
    for variant in VARIANTS:
        if text.startswith(variant):
            return variant.removesuffix(": ").lower(), text.removeprefix(variant)
    return "", text


def checked(page: str, line: int, parameter: str) -> str:
    try:
        if parameter:
            jmespath.compile(parameter.partition(" = ")[0])
    except JMESPathError as error:
        raise BadPage(page, f"below line {line} {parameter!r} is no JMESPath ({error}).") from error
    return parameter


def answer_of(page: str, line: int, token: Token) -> tuple[str, str]:
    parts = re.match(r"`([^`]+)`: *(.*)", token.content.replace("\n", " "))
    if parts is None:
        raise BadPage(page, f"below line {line} a list's item is not `expression`: words.")
    return checked(page, line, parts[1]), parts[2]


def filled(text: str, names: Mapping[str, str]) -> str:
    """The text with each {name} replaced."""
    return PLACEHOLDER.sub(lambda match: names[match[1]], text)
