"""Reads the page of a step: Markdown that a trainer may change without touching code.

A page has these headings, and nothing else:

    # Title
    ## What it is for
    ## Why now
    ## In the console
    ## Question
    ## Answer
    ## For the presenter
    ## Call by call
    ## Calls that update

Under the last two stands what the console asks for in the place of each writing call, under the call's name; a page may
lack the last.

    ### CreateTable
    DynamoDB > Tables > Create table

    | field | value | parameter |
    | --- | --- | --- |
    | Table name | {table} | TableName |
    | Capacity mode | On-demand | BillingMode = PAY_PER_REQUEST |

    - `TableDescription.TableStatus`: what this part of the answer means

The third column is a JMESPath into the call's parameters (https://jmespath.org): there stands the second column's
value, or, behind " = ", what the API calls it; "= *" means an id that AWS invented. A row without a parameter is for
the console alone. "(unasked)" behind the call's name: the console does it without being asked. "(not in the
walkthrough)": the suite does it, and the walkthrough does not. Of several tables for one call the first counts whose
parameters are all as they say.

{table}, {queue}, {account}, ... are replaced by the names and values of the deployment (`names`). A block quote, a
field or a path that begins with "Corrected:" is left out of what the walkthrough literally says, one that begins with
"As written:" is only there; with the path goes the whole call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from markdown_it import MarkdownIt
from markdown_it.token import Token

from provision import BESIDE
from provision.documents import policy_document
from provision.settings import Settings
from provision.terminal import outcome

SECTIONS = (
    "What it is for",
    "Why now",
    "In the console",
    "Question",
    "Answer",
    "For the presenter",
    "Call by call",
)
MENDS = "Calls that update"
MARKS = ("unasked", "not in the walkthrough")
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
ANY = "*"


class BadPage(outcome.UserError):
    """A page that cannot be read as one; it says where."""

    exit_code = outcome.USAGE

    def __init__(self, page: str, what: str) -> None:
        super().__init__(
            f"The lesson's page {page}: {what}",
            means="The lesson cannot be shown. Nothing was changed.",
            advice=("Correct the page; provision/lesson/page.py says how one is written.",),
        )


@dataclass(frozen=True)
class ConsoleFace:
    """What the console asks for in the place of one call.

    `rows` are (field, value, parameter): the parameter with what the API calls the value. `answer` are pairs of a
    JMESPath into the answer, and what stands there means. `updates`: the call is made only where somebody has changed
    what was made before.
    """

    operation: str
    mark: str
    updates: bool
    path: str
    rows: tuple[tuple[str, str, str], ...]
    answer: tuple[tuple[str, str], ...]

    def fits(self, parameters: Mapping[str, Any]) -> bool:
        return all(not parameter or fits(value, parameter, parameters) for _, value, parameter in self.rows)

    def covers(self) -> set[str]:
        """The names of the call's parameters that a row speaks of."""
        return {re.split(r"[.\[ ]", parameter, maxsplit=1)[0] for _, _, parameter in self.rows if parameter}

    def lines(self) -> list[str]:
        """The path, and a line for each field; a document is spread below its field."""
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
    console_faces: list[ConsoleFace] = field(default_factory=list)

    def console_face(self, operation: str, parameters: Mapping[str, Any]) -> ConsoleFace | None:
        """What the page says of a call with these parameters: the first table that is true of them."""
        for face in self.console_faces:
            if face.operation == operation and face.fits(parameters):
                return face
        return None


def fits(value: str, parameter: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a row is true of a call."""
    expression, _, wanted = parameter.partition(" = ")
    found = jmespath.search(expression, parameters)
    wanted = wanted.strip() or value
    if found is None:
        return False
    if wanted == ANY:
        return True
    if isinstance(found, str) and is_document(found) and is_document(wanted):
        return bool(json.loads(found) == json.loads(wanted))
    if isinstance(found, (dict, list)):
        try:
            return bool(found == json.loads(wanted))
        except ValueError:
            return False
    if isinstance(found, bool):
        return wanted == str(found).lower()
    return str(found) == wanted


def is_document(value: str) -> bool:
    if not value.startswith("{"):
        return False
    try:
        return isinstance(json.loads(value), dict)
    except ValueError:
        return False


def names(settings: Settings, *, account: str, region: str, partition: str = "aws") -> dict[str, str]:
    """Everything that a page may name, by its name: the settings, the place, ARNs and filled-in documents."""
    values = {name: getattr(settings, name) for name in dir(settings) if not name.startswith("_")}
    own = {name: str(value) for name, value in values.items() if isinstance(value, (str, int))}

    def arn(service: str, name: str, where: str = region) -> str:
        return f"arn:{partition}:{service}:{where}:{account}:{name}"

    place = Place(partition, region, account)
    documents = {
        "write_document": "Lambda-Write-DynamoDB",
        "read_document": "Lambda-Read-SQS",
        "trust_lambda": "trust-lambda",
        "trust_apigateway": "trust-apigateway",
        "queue_document": "POC-Queue",
    }
    return {
        **own,
        "account": account,
        "region": region,
        "partition": partition,
        "variant": "as written" if settings.as_written else "corrected",
        "environment": json.dumps(settings.environment),
        "log_retention": str(settings.log_retention or "Never expire"),
        "function_response_types_document": json.dumps(settings.function_response_types),
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
class Place:
    """Where a deployment is: as much of it as policy documents name."""

    partition: str
    region: str
    account_id: str


def read(step: str, names: Mapping[str, str], *, folder: Path | None = None) -> Page:
    """The page of a step, with these names filled in; from a trainer's own folder, or from the package's.

    Raises BadPage.
    """
    page = f"{step}.md"
    source = folder / page if folder is not None else BESIDE / "lessons" / page
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadPage(page, f"it cannot be read ({error}).") from error
    return parsed(page, text, names)


def parsed(page: str, text: str, names: Mapping[str, str]) -> Page:
    lines = text.splitlines()
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    sections = {"": ""}
    title, section, faces = "", "", list[ConsoleFace]()
    starts = [
        (token.map[0], int(token.tag[1:]), tokens[number + 1].content)
        for number, token in enumerate(tokens)
        if token.type == "heading_open" and token.map is not None
    ]
    for number, (line, level, heading) in enumerate(starts):
        end = starts[number + 1][0] if number + 1 < len(starts) else len(lines)
        body = "\n".join(lines[line + 1 : end]).strip()
        if level == 1:
            title = heading
        elif level == 2:
            if heading not in (*SECTIONS, MENDS):
                known = ", ".join((*SECTIONS, MENDS))
                raise BadPage(page, f"line {line + 1} has the heading {heading!r}; there are {known}.")
            sections[heading] = body
            section = heading
        else:
            face = console_face(page, line + 1, heading, body, names, updates=section == MENDS)
            faces += [face] if face is not None else []
    missing = [heading for heading in SECTIONS if heading not in sections]
    if missing or not title:
        raise BadPage(page, f"the heading {missing[0] if missing else 'of the first level'!r} is missing.")
    texts = [filled(page, for_variant(sections[heading], names), names) for heading in SECTIONS[:-1]]
    purpose, why_now, console, question, answer, presenter = texts
    return Page(title, purpose, why_now, console, question, answer, presenter, faces)


def for_variant(text: str, names: Mapping[str, str]) -> str:
    """The text without the block quotes of the other variant; those of this one as plain paragraphs."""
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", text):
        variant = re.match(r"> *(Corrected|As written): *", paragraph)
        if variant is None:
            paragraphs.append(paragraph)
        elif variant[1].lower() == names["variant"]:
            paragraphs.append(re.sub(r"^> ?", "", paragraph[variant.end() :], flags=re.MULTILINE))
    return "\n\n".join(paragraphs)


def console_face(
    page: str, line: int, heading: str, body: str, names: Mapping[str, str], *, updates: bool
) -> ConsoleFace | None:
    """What a page says of one call; None where that is of the other variant."""
    operation, _, mark = heading.partition(" (")
    mark = mark.removesuffix(")")
    if mark and mark not in MARKS:
        raise BadPage(page, f"line {line} has the mark {mark!r}; there are {', '.join(MARKS)}.")
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    path, rows, answer = "", list[tuple[str, str, str]](), list[tuple[str, str]]()
    cells = list[str]()
    for number, token in enumerate(tokens):
        inside = tokens[number - 1].type if number else ""
        if token.type == "inline" and inside == "paragraph_open":
            if number > 1 and tokens[number - 2].type == "list_item_open":
                answer.append(answer_of(page, line, token))
            else:
                path = filled(page, token.content.replace("\n", " "), names)
        elif token.type == "inline" and inside == "td_open":
            cells.append(token.content.strip())
        elif token.type == "tr_close" and cells:
            if len(cells) != 3:
                raise BadPage(page, f"below line {line} a row has {len(cells)} cells and not three.")
            variant, name = variant_of(cells[0])
            if variant in ("", names["variant"]):
                value, parameter = (filled(page, cell.replace("`", ""), names) for cell in cells[1:])
                rows.append((name, value, checked(page, line, parameter)))
            cells = []
    if not path:
        raise BadPage(page, f"line {line} says nothing of where in the console {operation} is.")
    variant, path = variant_of(path)
    if variant not in ("", names["variant"]):
        return None
    return ConsoleFace(operation, mark, updates, path, tuple(rows), tuple(answer))


VARIANTS = ("Corrected: ", "As written: ")


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


def filled(page: str, text: str, names: Mapping[str, str]) -> str:
    """The text with each {name} replaced. Raises BadPage with the names that there are."""
    unknown = sorted({name for name in PLACEHOLDER.findall(text) if name not in names})
    if unknown:
        raise BadPage(page, f"nothing is called {{{unknown[0]}}}; there are {', '.join(sorted(names))}.")
    return PLACEHOLDER.sub(lambda match: names[match[1]], text)
