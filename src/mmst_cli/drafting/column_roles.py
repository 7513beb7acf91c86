"""What columns are to a loss, guessed from their names and from what they hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mmst_cli.config.rules_mining import MINED_SCORES
from mmst_cli.config.schema import Modality, Role
from mmst_cli.drafting.column_contents import Contents, Other
from mmst_cli.errors import ConfigError, did_you_mean

# The usual names, the surest first.
_ANCHORS = (
    *("anchor", "query", "question", "search", "claim", "premise", "sentence1", "sentence_1", "sentence_a", "text1"),
    *("text_1", "text_a", "instruction", "prompt", "caption", "conversation", "messages", "chat", "description"),
    *("title", "transcript", "transcription", "txt"),
    *("frage", "suchanfrage", "beschreibung", "pregunta", "consulta", "requête", "requete", "domanda", "pergunta"),
)
_POSITIVES = (
    *("positive", "pos", "answer", "response", "document", "doc", "passage", "page", "context", "hypothesis"),
    *("sentence2", "sentence_2", "sentence_b", "text2", "text_2", "text_b", "completion", "chosen"),
    *("image", "img", "photo", "picture", "audio", "sound", "recording", "speech", "video", "clip", "pdf", "manual"),
    *("abstract", "body", "content", "text"),
    *("antwort", "dokument", "seite", "bild", "foto", "réponse", "reponse", "respuesta", "risposta", "resposta"),
)
_SURE = ("positive", "pos")  # before a column of media of another name
_LABEL = re.compile(
    r"(.*_)?(labels?|scores?|similarity|relevance|relatedness|rating|grade)|gold|target|y|"
    r"(is_)?(duplicate|match|relevant|paraphrase|similar)"
)
_SCORES = re.compile(r"(.*_)?(scores?|labels?|margins?|logits|similarit(y|ies)|relevances?)")
_NEGATIVE = re.compile(r"(hard_?)?neg(ative)?s?(_?\d+)?|(wrong|irrelevant|distractor|rejected)(_.*)?")
_NO_INPUT = re.compile(r"(.*_)?(id|ids|uuid|idx|index|key|hash)|__.*__|split|source|lang|language|date|licen[sc]e")
_NO_TEXT = re.compile(r"(.*_)?(url|link|filename|file_name|path)|labels?|class|category|score")
_WANTED = {Role.anchor: "an anchor is one text or medium a row", Role.positive: "a positive is a text or a medium"}
_FEW = 10  # rows from which on a text that is the same in all is no input


@dataclass(frozen=True)
class Guess:
    """A column that is used, and why it is taken for that."""

    contents: Contents
    role: Role
    why: str
    take: int | None = None
    """Of lists of negatives that differ in length: the fewest entries, but one at least."""
    fill: bool = False
    """Whether there are empty lists among them."""
    told: bool = False
    """Whether the user said so."""


@dataclass(frozen=True)
class Guesses:
    """The columns that are used, in the order of their roles, and those that are not."""

    used: list[Guess]
    left: list[Contents] = field(default_factory=list)

    def with_role(self, role: Role) -> list[Guess]:
        """Return those of a role."""
        return [guess for guess in self.used if guess.role is role]


def guess_roles(
    columns: Sequence[Contents], rows: int, of: str, named: Mapping[Role, str | None] | None = None
) -> Guesses:
    """Return which column is the anchor, which its positive, and which are negatives or a label.

    Args:
        columns: what they hold.
        rows: how many rows were looked at.
        of: the data, for messages.
        named: the anchor and the positive where the user says which they are.

    Raises:
        ConfigError: it can't be told; the message says what could not.
    """
    given = {role: _given(columns, role, name, of) for role, name in (named or {}).items() if name is not None}
    inputs = [column for column in columns if column in given.values() or may_be_input(column, rows)]
    if not inputs:
        raise ConfigError(f"--from: {of}: no column holds different texts or media to embed: {_listed(columns)}.")
    negatives = [
        column for column in inputs if column not in given.values() and _NEGATIVE.fullmatch(plain_name(column.name))
    ]
    inputs = [column for column in inputs if column not in negatives]
    numbers = [column for column in columns if column.kind is Other.number]
    label = next((column for column in numbers if _LABEL.fullmatch(plain_name(column.name))), None)
    if len(inputs) == 1 and label is not None and not negatives and Role.positive not in given:
        used = [Guess(inputs[0], Role.anchor, "the only column of inputs"), Guess(label, Role.label, "by its name")]
        return Guesses(used, [column for column in columns if column not in (inputs[0], label)])
    anchor, positive = _pair(inputs, columns, of, given)
    used = [anchor, positive, *_negatives(negatives, positive.contents)]
    if label is not None and len(used) == 2:
        used.append(Guess(label, Role.label, "by its name and its numbers"))
    used += _scores(columns, used)
    taken = [guess.contents for guess in used]
    return Guesses(used, [column for column in columns if column not in taken])


def _given(columns: Sequence[Contents], role: Role, name: str, of: str) -> Contents:
    found = next((column for column in columns if column.name == name), None)
    if found is None:
        names = [column.name for column in columns]
        known = did_you_mean(name, names) or f" It has {', '.join(names)}."
        raise ConfigError(f"--{role} {name}: {of} has no such column.{known}")
    if not found.is_input or (role is Role.anchor and found.lists):
        raise ConfigError(f"--{role} {name}: it holds {found.in_words}, and {_WANTED[role]}.")
    return found


def _pair(
    inputs: list[Contents], columns: Sequence[Contents], of: str, given: Mapping[Role, Contents]
) -> tuple[Guess, Guess]:
    """Return the anchor and its positive."""
    said = {role: Guess(column, role, f"by --{role}", told=True) for role, column in given.items()}
    single = [column for column in inputs if not column.lists and column is not given.get(Role.positive)]
    by_name = _named(_ANCHORS, single)
    anchor = said.get(Role.anchor) or (Guess(by_name, Role.anchor, "by its name") if by_name else None)
    sure = _named(_SURE, [column for column in inputs if anchor is None or column is not anchor.contents])
    positive = said.get(Role.positive) or (Guess(sure, Role.positive, "by its name") if sure else None)
    if positive is None:
        positive = _medium(inputs, anchor) or _other_named(inputs, anchor)
    if anchor is None:
        anchor = _left_over(single, positive)
    if anchor is not None and positive is None:
        rest = [column for column in inputs if column is not anchor.contents]
        positive = Guess(rest[0], Role.positive, "the only other column of inputs") if len(rest) == 1 else None
    if anchor is None and positive is None and len(single) == 2 and not any(column.is_medium for column in single):
        shorter, longer = sorted(single, key=lambda column: column.words)
        anchor = Guess(shorter, Role.anchor, "of two columns of texts the one with fewer words")
        positive = Guess(longer, Role.positive, "the other column of texts")
    if anchor is None or positive is None:
        raise ConfigError(_untold(inputs, anchor, positive, columns, of))
    return anchor, positive


def _medium(inputs: list[Contents], anchor: Guess | None) -> Guess | None:
    """Return the positive if one other column alone holds media."""
    media = [column for column in inputs if column.is_medium and (anchor is None or column is not anchor.contents)]
    return Guess(media[0], Role.positive, media[0].found) if len(media) == 1 else None


def _other_named(inputs: list[Contents], anchor: Guess | None) -> Guess | None:
    found = _named(_POSITIVES, [column for column in inputs if anchor is None or column is not anchor.contents])
    return Guess(found, Role.positive, "by its name") if found else None


def _left_over(single: list[Contents], positive: Guess | None) -> Guess | None:
    """Return the anchor if there is one column of texts beside the positive, or one input at all."""
    if positive is None:
        return None
    rest = [column for column in single if column is not positive.contents]
    texts = [column for column in rest if column.kind is Modality.text]
    chosen = texts if len(texts) == 1 else rest
    return Guess(chosen[0], Role.anchor, "the only other column of inputs") if len(chosen) == 1 else None


def _negatives(columns: list[Contents], positive: Contents) -> list[Guess]:
    """Return the negatives that are of the positive's modality; of lists of several lengths as many as all have."""
    found = []
    for column in columns:
        fewest, most = column.lists or (1, 1)
        if column.kind is positive.kind:
            take = max(1, fewest) if fewest != most else None
            found.append(Guess(column, Role.negative, "by its name", take, fill=fewest == 0))
    return found


def _scores(columns: Sequence[Contents], used: Sequence[Guess]) -> list[Guess]:
    """Return the lists of a teacher's scores that fit the documents of a row, one at most.

    There is a score for each document, the positive first, or for each negative what the positive has more.
    """
    negatives = [guess for guess in used if guess.role is Role.negative]
    if not negatives or any(guess.fill for guess in negatives):
        return []
    count = negatives_a_row(negatives)
    longer = any(guess.take is not None for guess in negatives)  # so are the lists of scores
    fitting = []
    for column in columns:
        name = plain_name(column.name)
        # What mining adds are scores of the model that mined, which is no teacher.
        if column.numbers is None or name in MINED_SCORES or not _SCORES.fullmatch(name):
            continue
        fewest, most = column.numbers
        if fewest == most and fewest in (count, count + 1):
            fitting.append(Guess(column, Role.label, f"by its name and its {fewest} numbers a row"))
        elif longer and fewest == count + 1:
            fitting.append(Guess(column, Role.label, "by its name and its numbers", take=count + 1))
    teachers = [guess for guess in fitting if "teacher" in plain_name(guess.contents.name)]
    return [*teachers, *fitting][:1]


def negatives_a_row(negatives: Iterable[Guess]) -> int:
    """Return how many negatives of a row are used, of lists of several lengths as many as all have."""
    return sum(guess.take or (guess.contents.lists or (1, 1))[0] for guess in negatives)


def _untold(
    inputs: list[Contents], anchor: Guess | None, positive: Guess | None, columns: Sequence[Contents], of: str
) -> str:
    if len(inputs) == 1:
        return (
            f"--from: {of}: the only column to embed is {inputs[0].name} ({inputs[0].in_words}), and training takes"
            " pairs: what is asked, and what answers it. Add a column of queries or captions."
        )
    what = "what is asked (the anchor)" if anchor is None else "what answers it (the positive)"
    known = next((f", and {g.contents.name} is the {g.role}" for g in (anchor, positive) if g), "")
    return (
        f"--from: {of}: it could not be told which column is {what} among {_listed(columns)}{known}. Name them by"
        " --anchor and --positive."
    )


def may_be_input(column: Contents, rows: int) -> bool:
    """Whether a column may be embedded, by its name and by what it holds; ``rows`` were looked at."""
    if not column.is_input or column.lost is not None or _NO_INPUT.fullmatch(plain_name(column.name)):
        return False
    if column.is_medium or column.lists:
        return True
    return not _NO_TEXT.fullmatch(plain_name(column.name)) and (rows < _FEW or column.values > 1)


def _named(names: Sequence[str], columns: Sequence[Contents]) -> Contents | None:
    by_name = {plain_name(column.name): column for column in reversed(columns)}
    return next((by_name[form] for name in names for form in (name, f"{name}s") if form in by_name), None)


def plain_name(name: str) -> str:
    """Return the name of a column in lower case, its words joined by underscores."""
    return re.sub(r"\W+", "_", name.lower()).strip("_") if not name.startswith("__") else name


def _listed(columns: Sequence[Contents]) -> str:
    return ", ".join(f"{column.name} ({column.in_words})" for column in columns)
