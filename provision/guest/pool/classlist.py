"""Class lists as schools have them: one parser for the appliance, its pages and its hosts.

A list has a name in each line, and a password if there is one, between commas, semicolons or tabs:
whichever comes first. A header may name the columns, in any order, in English, German or French. A
value is shown in an error only where it cannot be a password.
"""

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from provision.guest.pool.certificate import NAME

SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 1024
LONGEST_NAME = 64
ALLOWED = (
    "a name has the letters a-z, digits and . _ @ + -, begins with a letter or a digit,"
    f" and has {LONGEST_NAME} of them at most"
)
DELIMITERS = ",;\t"
BLANK = " \t\u00a0\ufeff"
EMPTY = f'{BLANK}{DELIMITERS}"\r\n'
# What a header calls its columns, in small letters and without what is between them.
LOGIN = "login loginname username userid user account accountname benutzername benutzer nutzername"
LOGIN += " benutzerkennung anmeldename kennung konto identifiant utilisateur nomdutilisateur compte"
COLUMNS = {
    "login": LOGIN,
    "name": "name names student students studentname schüler schueler schülerin élève eleve nom",
    "password": "password pass passwd pwd pw passwort kennwort motdepasse mdp initialpassword"
    " initialespasswort startpasswort initialpasswort anfangspasswort initialkennwort",
    "first": "vorname vornamen rufname firstname givenname forename prénom prenom",
    "last": "nachname lastname surname familyname familienname zuname nomdefamille",
    "mail": "email mail mailadresse emailadresse emailaddress mailaddress courriel adressemail"
    " adresseemail",
}
KINDS = {word: kind for kind, words in COLUMNS.items() for word in words.split()}
# These may be names of accounts: they make a header only beside another column of one.
DOUBTFUL = {"user", "account", "student", "students", "konto", "compte", "mail"}
DOUBTFUL |= {"schüler", "eleve", "élève"}
LETTERS = {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "œ": "oe", "ø": "oe"}
# As persons are called; passwords mostly are not.
WORDS = re.compile(r"[^\W\d_]+(['’`´.@-][^\W\d_]+)*")
LETTERS |= {"å": "aa", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}


class ListError(ValueError):
    """A list that cannot be used.

    Args:
        problems: line, 0: the whole list; and what is wrong with it.
    """

    def __init__(self, problems: Sequence[tuple[int, str]]) -> None:
        super().__init__(
            "\n".join(f"line {line}: {text}" if line else text for line, text in problems)
        )
        self.problems = list(problems)


class EncodingError(ListError):
    """The list is in an encoding that it does not say."""


@dataclass(frozen=True)
class Student:
    """One of a list.

    Args:
        name: as the student signs in.
        password: None: the list has none.
        line: where it is.
        written: as the list has it.
    """

    name: str
    password: str | None
    line: int
    written: str


@dataclass(frozen=True)
class ClassList:
    """A list that was understood.

    Args:
        students: in its order.
        unused: columns of its header that are not ours.
    """

    students: tuple[Student, ...]
    unused: tuple[str, ...] = ()

    def passwords(self) -> dict[str, str | None]:
        """The passwords by name."""
        return {each.name: each.password for each in self.students}

    def as_csv(self) -> str:
        """The list in the form that needs no guess: a header, commas."""
        out = io.StringIO()
        csv.writer(out).writerow(["name", "password"])
        csv.writer(out).writerows((each.name, each.password) for each in self.students)
        return out.getvalue()

    def made_names(self) -> dict[str, str]:
        """The names that ``make_names`` made: what the list has, and the name."""
        return {e.written: e.name for e in self.students if plain(e.written) != e.name}


@dataclass
class _Columns:
    """Where a list has what.

    Args:
        login: index of the names.
        password: index of the passwords; None: there are none.
        parts: indexes of first and last name, or of the mail address, to make names of.
        width: how many columns there are.
        header: the words of the header; empty: there is none.
    """

    login: int | None = 0
    password: int | None = 1
    parts: tuple[int, ...] = ()
    width: int = 2
    header: tuple[str, ...] = ()
    unused: tuple[str, ...] = field(default=())


def read_list(data: bytes, *, encoding: str = "", make_names: bool = False) -> ClassList:
    """Read a class list.

    Args:
        data: the file.
        encoding: empty: UTF-8, or UTF-16, which show.
        make_names: make a name (``proposed``) of what cannot be one.

    Raises:
        EncodingError: another encoding must be named.
        ListError: lines that cannot be used, each with the reason.
    """
    text = decode(data, encoding)
    if "\0" in text:
        line = len(re.split(r"\r\n|\r|\n", text[: text.index("\0")]))
        raise ListError([(line, "there is a NUL byte: this is no text, or in another encoding")])
    rows = _rows(text)
    if not rows:
        raise ListError([(0, "the list is empty")])
    columns = _columns(rows[0][1])
    if columns.login is None and not (make_names and columns.parts):
        told = "this looks like a header, but no column is called name or login"
        if columns.parts:
            words = " and ".join(rows[0][1][part] for part in columns.parts)
            told += f"; or have names made of {words}: --make-names"
        raise ListError([(rows[0][0], told)])
    rows = rows[1:] if columns.header else rows
    if not rows:
        raise ListError([(0, "the list has a header and no names")])
    return _students(rows, columns, make_names=make_names)


def decode(data: bytes, encoding: str = "") -> str:
    """The text of a file.

    Raises:
        EncodingError: it is not UTF-8 or UTF-16, or not in the encoding that was named.
    """
    found = _mark(data) or encoding or _guess(data)
    try:
        codecs.lookup(found)
        return data.decode(found).removeprefix("\ufeff").rstrip("\x1a")
    except LookupError:
        raise EncodingError([(0, f"there is no encoding {encoding!r}")]) from None
    except UnicodeDecodeError as error:
        line = len(re.split(rb"\r\n|\r|\n", data[: error.start]))
        told = f"this is not {found.upper()}"
        if not encoding and not _mark(data):
            told += ". Plain CSV of Excel is windows-1252 (--encoding windows-1252), on an old Mac"
            told += " mac-roman; better save it as CSV UTF-8"
        raise EncodingError([(line, told)]) from None
    except UnicodeError:
        raise EncodingError([(0, f"the list is not {found}")]) from None


def plain(written: str) -> str:
    """A name as sign-in reads it: without blanks around it, in small letters."""
    return written.strip(BLANK).lower()


def propose(written: str) -> str:
    """The name that is made of what cannot be one; empty: none can.

    Small letters; ä, ö, ü, ß become ae, oe, ue, ss, and the like; other accents go; blanks between
    words become dots; what is left that a name cannot have goes; 64 letters are kept.
    """
    small = unicodedata.normalize("NFC", written.strip(BLANK)).lower()
    spelt = "".join(LETTERS.get(letter, letter) for letter in small)
    bare = "".join(c for c in unicodedata.normalize("NFKD", spelt) if not unicodedata.combining(c))
    dotted = re.sub(r"\s+", ".", bare.strip())
    kept = re.sub(r"[^a-z0-9._@+-]", "", dotted).lstrip("._@+-")[:LONGEST_NAME]
    return kept if NAME.fullmatch(kept) else ""


def why_not(written: str, *, known: bool = True) -> str:
    """Why something cannot be a name, with a proposal; empty: it can.

    Args:
        written: as a list or a person has it.
        known: it is a name, from a column of names. Otherwise a password may be behind it.
    """
    if NAME.fullmatch(plain(written)):
        return ""
    begun = WORDS.match(written)
    whole = begun is not None and begun[0] == written
    if whole or (known and not re.search(r"[,;:|\t\r\n]", written)):
        other = propose(written)
        hint = f"; write {other}, or --make-names" if other else ""
        return f"{written.strip(BLANK)!r} cannot be a name: {ALLOWED}{hint}"
    told = f"what begins with {begun[0]!r}" if begun else "what is there"
    return f"{told} cannot be a name: {ALLOWED}; --make-names makes one of blanks and accents, too"


def _mark(data: bytes) -> str:
    """The encoding that a list's first bytes tell; empty: they do not."""
    marks = (
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
        (codecs.BOM_UTF8, "utf-8"),
    )
    return next((name for mark, name in marks if data.startswith(mark)), "")


def _guess(data: bytes) -> str:
    """UTF-16 shows by its zeros, where most letters are of ours."""
    even, odd = data[::2].count(0), data[1::2].count(0)
    if len(data) >= 4 and len(data) % 2 == 0 and max(even, odd) > len(data) // 4:
        return "utf-16-be" if even > odd else "utf-16-le"
    return "utf-8"


def _rows(text: str) -> list[tuple[int, list[str]]]:
    """The records that are not blank, with the line where each begins."""
    text, skipped, delimiter = _told_delimiter(text)
    # StringIO ends lines at CR, LF and CRLF only: other separators may be in a field.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, begun = [], 0
    try:
        while (row := next(reader, None)) is not None:
            cells = [cell.strip(BLANK) for cell in row]
            if any(cell.strip(EMPTY) for cell in cells):
                rows.append((begun + skipped + 1, cells))
            begun = reader.line_num
    except csv.Error:
        told = 'a quotation mark " that is not closed, or text behind a closed one'
        raise ListError([(begun + skipped + 1, f"there is {told}")]) from None
    if rows and not _is_header(rows[0][1]):
        _same_delimiter(text, skipped, delimiter)
    return rows


def _told_delimiter(text: str) -> tuple[str, int, str]:
    """The list without Excel's line ``sep=;``, how many lines that were, and the delimiter."""
    if match := re.match(rf'"?sep=([{DELIMITERS}|])"?(\r\n|\r|\n|$)', text, re.IGNORECASE):
        return text[match.end() :], 1, match[1]
    for line in io.StringIO(text, newline=""):
        if line.strip(EMPTY) and (found := _first_delimiter(line)):
            return text, 0, found
    return text, 0, ","


def _first_delimiter(line: str) -> str:
    """The first delimiter of a line that is not between quotation marks; empty: none."""
    outside = re.sub(r'"[^"]*("|$)', "", line)
    return next((letter for letter in outside if letter in DELIMITERS), "")


def _same_delimiter(text: str, skipped: int, delimiter: str) -> None:
    """Names have no delimiter in them: each line's first one must be that of the list."""
    names = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
    wrong = [
        (number, f"there is {names[found]}, but {names[delimiter]} in the lines before")
        for number, line in enumerate(io.StringIO(text, newline=""), start=skipped + 1)
        if (found := _first_delimiter(line)) and found != delimiter and line.strip(EMPTY)
    ]
    if wrong:
        raise ListError(wrong)


def _kind(cell: str) -> str:
    return KINDS.get(re.sub(r"[\s_.:*'’/()-]", "", cell.casefold()), "")


def _is_header(cells: Sequence[str]) -> bool:
    """Whether a record names columns: a word for one, or a doubtful one beside another."""
    kinds = [(cell, _kind(cell)) for cell in cells if _kind(cell)]
    sure = [cell for cell, _ in kinds if cell.casefold() not in DOUBTFUL]
    return bool(sure) or len({kind for _, kind in kinds}) > 1


def _columns(cells: Sequence[str]) -> _Columns:
    """What a list's first record says of its columns."""
    if not _is_header(cells):
        return _Columns(password=1)
    at: dict[str, list[int]] = {}
    for index, cell in enumerate(cells):
        at.setdefault(_kind(cell), []).append(index)
    for kind, found in at.items():
        if kind and len(found) > 1:
            words = " and ".join(cells[index] for index in found)
            raise ListError([(0, f"two columns of the header are {kind}: {words}")])
    first, last, mail = (at.get(kind, [None])[0] for kind in ("first", "last", "mail"))
    login = at.get("login", [None])[0]
    named = at.get("name", [None])[0]
    if first is not None and last is None and login is None:
        last = named  # "Name; Vorname" are those of a person
    elif login is None:
        login = named
    parts = (first, last) if first is not None and last is not None else (mail,)
    used = {login, first, last, mail, named, at.get("password", [None])[0]}
    return _Columns(
        login=login,
        password=at.get("password", [None])[0],
        parts=tuple(part for part in parts if part is not None),
        width=len(cells),
        header=tuple(filter(None, cells)),
        unused=tuple(c for i, c in enumerate(cells) if c and i not in used),
    )


def _students(
    rows: Sequence[tuple[int, list[str]]], columns: _Columns, *, make_names: bool
) -> ClassList:
    problems: list[tuple[int, str]] = []
    students: list[Student] = []
    single = not any(any(cells[1:]) for _, cells in rows)
    for line, cells in rows:
        try:
            students.append(_student(line, cells, columns, make_names=make_names, single=single))
        except ValueError as error:
            problems.append((line, str(error)))
    problems.extend(_doubles(students))
    if problems:
        raise ListError(sorted(problems))
    return ClassList(tuple(students), columns.unused)


def _student(
    line: int, cells: list[str], columns: _Columns, *, make_names: bool, single: bool
) -> Student:
    """One line's student; ``single``: the list has names only."""
    if any(cells[columns.width :]):
        most = "those of the header" if columns.header else "a name and a password"
        raise ValueError(f"there are more columns than {most}: quote what has a delimiter in it")
    cells = [*cells, *[""] * (columns.width - len(cells))]
    if columns.login is None:
        written = ".".join(cells[part] for part in columns.parts if cells[part])
        written = written.partition("@")[0]
    else:
        written = cells[columns.login]
    if not written:
        raise ValueError("there is no name")
    name = plain(written)
    if _kind(written) in ("login", "name") and name not in DOUBTFUL:
        raise ValueError("this is a header, and not the first line")
    password = cells[columns.password] if columns.password is not None else ""
    if not NAME.fullmatch(name):
        if make_names and propose(written) and (columns.header or _is_person(written)):
            name = propose(written)
        elif single or columns.header or _shows(written, password):
            raise ValueError(why_not(written, known=bool(columns.header)))
        else:
            raise ValueError(f"what comes first cannot be a name: {ALLOWED}")
    if password and len(password) < SHORTEST_PASSWORD:
        raise ValueError(f"the password has less than {SHORTEST_PASSWORD} characters")
    if len(password) > LONGEST_PASSWORD:
        raise ValueError(f"the password has more than {LONGEST_PASSWORD} characters")
    if re.search(r"[\r\n]", password):
        raise ValueError("the password has a line break in it")
    return Student(name, password or None, line, written)


def _is_person(written: str) -> bool:
    """Whether something is words as names are, rather than a name and a password."""
    return all(WORDS.fullmatch(word) for word in written.split())


def _shows(written: str, password: str) -> bool:
    """Whether something is a person's name rather than a password, without a header to tell."""
    if NAME.fullmatch(plain(password)) and len(password) < SHORTEST_PASSWORD:
        return False  # the columns may be the other way round
    return bool(WORDS.fullmatch(written))


def _doubles(students: Sequence[Student]) -> Iterator[tuple[int, str]]:
    seen: dict[str, Student] = {}
    for each in students:
        first = seen.setdefault(each.name, each)
        if first is not each:
            made = f" ({each.name})" if plain(each.written) != each.name else ""
            yield each.line, f"the same name{made} as in line {first.line}"
