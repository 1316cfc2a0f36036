import pytest

from provision.guest.pool.classlist import ClassList, EncodingError, ListError, propose, read_list

EMMY = {"emmy": "geheim123"}


def names(text: str) -> list[str]:
    return [each.name for each in read_list(text.encode()).students]


def problems(data: str | bytes) -> str:
    with pytest.raises(ListError) as error:
        read_list(data.encode() if isinstance(data, str) else data)
    return str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "emmy,geheim123",
        "emmy;geheim123\r\n",
        "emmy\tgeheim123\n",
        "name,password\nemmy,geheim123\n",
        "PASSWORD,Name\ngeheim123,emmy\n",
        "Klasse;Passwort;Benutzername\n10b;geheim123;Emmy\n",
        "Nom;Prénom;Identifiant;Mot de passe\nNoether;Emmy;emmy;geheim123\n",
        "First Name,Last Name,User name,Password\nE,N,emmy,geheim123\n",
        '"name";"password"\r\n"emmy";"geheim123"\r\n',
        "sep=;\r\nname;password\r\nemmy;geheim123\r\n",
        "\n\n emmy , geheim123 \n,,,\n;;;\n\n",
        "name,password,\nemmy,geheim123,\n",
        "EMMY,geheim123\r",
        "emmy,geheim123\n\x1a",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_lists_as_schools_have_them(text: str, encoding: str) -> None:
    assert read_list(text.encode(encoding)).passwords() == EMMY


def test_a_list_of_names_needs_no_passwords() -> None:
    assert read_list(b"Name\nemmy\ncarl,\n").passwords() == {"emmy": None, "carl": None}
    assert names("emmy\rcarl\rsonja") == ["emmy", "carl", "sonja"]
    assert names("emmy@school.de\nada.lovelace") == ["emmy@school.de", "ada.lovelace"]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x85"])
def test_what_python_takes_for_a_line_is_none(separator: str) -> None:
    password = f"geheim{separator}123"
    assert read_list(f"emmy,{password}\ncarl\n".encode()).passwords() == {
        "emmy": password,
        "carl": None,
    }


def test_passwords_have_delimiters_where_they_are_quoted() -> None:
    assert read_list(b'emmy,"ge,he""im;123"\n').passwords() == {"emmy": 'ge,he"im;123'}
    assert read_list(b"name;password\nemmy;ge,heim123\n").passwords() == {"emmy": "ge,heim123"}
    assert "line 1: there are more columns" in problems("emmy,geheim,123\n")
    assert "line 2: there is a semicolon" in problems("emmy,geheim123\ncarl;geheim123\n")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("", "empty"),
        ("\n;;\n", "empty"),
        ("name,password\n", "no names"),
        ("Vorname;Nachname;E-Mail\nEmmy;Noether;e@x.de\n", "--make-names"),
        ("name,login,login\na,b,c\n", "two columns"),
        ('emmy,"geheim123\ncarl,geheim123\n', "line 1: there is a quotation mark"),
        ("emmy,geheim123\nname,password\n", "line 2: this is a header"),
        ("Klasse 10b\nname,password\nemmy,geheim123\n", "line 1"),
        ("emmy,password\ncarl,password\n", "looks like a header"),
        ("emmy\n\nEmmy,geheim123\n", "line 3: the same name as in line 1"),
        ("emmy,geheim123\n,geheim456\n", "line 2: there is no name"),
        ("emmy,geheim123\ncarl,geheim1\n", "line 2: the password has less than 8"),
        ("x" * 65, "64"),
        ("../etc\n", "cannot be a name"),
        ("emmy,gehe\0im123\n", "line 1: there is a NUL"),
        (b"carl\nemmy,\xfcbergeheim1\n", "line 2: this is not UTF-8. .*--encoding windows-1252"),
    ],
)
def test_what_cannot_be_used_names_the_line(data: str | bytes, told: str) -> None:
    with pytest.raises(ListError, match=f"(?s){told}"):
        read_list(data if isinstance(data, bytes) else data.encode())


@pytest.mark.parametrize(
    "text",
    [
        "emmy,geheim1\n",
        "geheim1!,emmy\n",
        "Geheim!1,emmy\n",
        "geheim1 emmy\n",
        "emmy geheim1\n",
        "emmy:geheim1\n",
        "emmy|geheim1\n",
        "'emmy','geheim1'\n",
        'emmy,"geheim1\n',
        "emmy,geheim1\ncarl,geheim1,x\n",
        'name,password\n"emmy,geheim1\ncarl",geheim1\n',
        "geheim1,emmy\ngeheim1,carl\n",
    ],
)
def test_no_error_shows_a_password(text: str) -> None:
    assert "geheim" not in problems(text).lower().replace("begins with 'geheim'", "")


def test_every_line_has_its_reason() -> None:
    told = problems("müller,geheim123\nemmy\nO'Brien\nzoë,geheim1\nemmy\n").splitlines()
    assert [line.partition(":")[0] for line in told] == ["line 1", "line 3", "line 4", "line 5"]
    assert "write mueller" in told[0]
    assert "write obrien" in told[1]
    assert "a-z" in told[0]


def test_an_encoding_can_be_named() -> None:
    data = "emmy,übergeheim\n"
    for name in ("latin-1", "windows-1252", "mac-roman", "utf-16", "utf-8-sig"):
        found = read_list(data.encode(name), encoding=name)
        assert found.passwords() == {"emmy": "übergeheim"}
    for name in ("utf-8-sig", "utf-16"):  # what a file says itself is right
        found = read_list(data.encode(name), encoding="windows-1252")
        assert found.passwords() == {"emmy": "übergeheim"}
    with pytest.raises(EncodingError, match="no encoding"):
        read_list(data.encode(), encoding="base64")
    with pytest.raises(EncodingError):
        read_list(data.encode("latin-1"), encoding="ascii")


def made(text: str) -> ClassList:
    return read_list(text.encode(), make_names=True)


def test_names_are_made_by_a_rule() -> None:
    assert made("müller\nO'Brien\nzoë\nEmmy Noether\nada\n").made_names() == {
        **{"müller": "mueller", "O'Brien": "obrien", "zoë": "zoe"},
        "Emmy Noether": "emmy.noether",
    }
    found = made("Vorname;Nachname;E-Mail\nEmmy;Noether;e@x.de\nZoë;O'Brien;\n")
    assert list(found.passwords()) == ["emmy.noether", "zoe.obrien"]
    assert list(made("E-Mail\nemmy.noether@x.de\n").passwords()) == ["emmy.noether"]
    with pytest.raises(ListError, match=r"line 2: the same name \(mueller\) as in line 1"):
        made("mueller\nmüller\n")
    assert propose("Łukasz Ångström-Weiß") == "lukasz.aangstroem-weiss"
    assert propose("李") == ""


def test_a_list_can_be_handed_on() -> None:
    found = read_list(b'student,"pass,word1"\nemmy\n')
    assert read_list(found.as_csv().encode()).passwords() == found.passwords()
