"""The model of ``appliance.yml``: every key, its type, its default and its explanation.

The docstring below each field is its one explanation: the commented file that ``appliance init``
writes, the reference in docs/configuration.md and the JSON Schema all take it from here.
``model_dump()`` gives plain numbers (bytes, seconds); ``model_dump(mode="json")`` gives what a
user would write.
"""

from ipaddress import ip_address
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from provision.config import books, languages, records, values
from provision.config.architectures import Name as ArchName
from provision.config.architectures import of_this_host
from provision.config.distributions import DISTRIBUTIONS, Name
from provision.config.languages import Kernels, Sage
from provision.config.quantities import (
    Duration,
    Size,
    format_percent,
    parse_percent,
    parse_size,
)
from provision.config.section import Section

GIB = 1 << 30
MIB = 1 << 20
DAY = 86400

Port = Annotated[int, Field(ge=1, le=65535)]


_IMAGES: dict[str, tuple[str, ...]] = {"python": ("python3",)}


class AptSource(Section):
    """A further package source for the guest."""

    name: values.FileName
    """file name below /etc/apt/sources.list.d"""
    uri: values.Url
    """where the packages are"""
    suites: tuple[str, ...]
    """suites to take from it"""
    components: tuple[str, ...] = ()
    """components to take from it; none for a flat repository"""
    key: values.HostFile
    """file with the public key that signs it"""


class Disk(Section):
    """One virtual disk with one file system."""

    size: Size
    """size of the virtual disk; the file on the host grows as it fills"""
    filesystem: Literal["ext4"] = "ext4"
    """file system"""
    mount: values.MountPoint
    """where the guest mounts it"""
    reserve: Annotated[
        float,
        PlainSerializer(format_percent, return_type=str, when_used="json"),
        WithJsonSchema({"type": ["string", "number"], "format": "percent or size"}),
    ] = 0.0
    """kept free for root (percent or size), so that a full disk leaves the machine running"""

    @field_validator("reserve", mode="before")
    @classmethod
    def _share(cls, value: Any, info: ValidationInfo) -> float:
        if isinstance(value, str) and "%" not in value:
            reserve, size = parse_size(value), info.data.get("size")
            if not size:
                return 0.0
            if reserve >= size:
                raise ValueError("the reserve leaves nothing of the disk; make the disk larger")
            value = round(100 * reserve / size, 6)
        percent = parse_percent(value)
        if percent > 50:
            raise ValueError("more than half of the disk; write at most 50%")
        return percent


class Image(Section):
    """An existing cloud image to start from."""

    source: values.PathOrUrl
    """qcow2, VMDK, VDI or raw image: a path or a URL"""
    sha256: values.Sha256 | None = None
    """its checksum; required for a URL"""


class Forward(Section):
    """A port of this host that leads into the guest."""

    host: Port
    """port on this host"""
    guest: Port
    """port in the guest"""
    public: bool = False
    """true: open to the room; false: reachable from this host only"""


class Network(Section):
    """How the guest is reached."""

    forwards: dict[values.RecordName, Forward] = Field(
        default_factory=lambda: {
            name: Forward(**record) for name, record in records.FORWARDS.items()
        }
    )
    """ports by name; a name given as null removes ours"""
    auto: bool = True
    """take the next free port of this host when one is taken"""

    @field_validator("forwards", mode="before")
    @classmethod
    def _merge(cls, value: Any) -> Any:
        merged = records.with_defaults(value, records.FORWARDS)
        if isinstance(merged, dict):
            return {name: record for name, record in merged.items() if record is not None}
        return merged


class Admin(Section):
    """Who administers the guest."""

    user: values.AccountName = "sageadm"
    """account with sudo, reached by SSH key only"""
    keys: tuple[values.PublicKey, ...] = ()
    """public keys, each as text or a file; none: a key pair is made once on this host"""

    @field_validator("keys")
    @classmethod
    def _split(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(line for key in keys for line in key.splitlines()))


class SessionLimits(Section):
    """What one session may use."""

    memory: Size = 896 * MIB
    """memory of all processes together"""
    swap: Size = 0
    """swap space"""
    cpu: Annotated[int, Field(ge=1, le=6400)] = 100
    """processor time, in percent of one core"""
    tasks: Annotated[int, Field(ge=16, le=32768)] = 256
    """processes and threads"""
    files: Annotated[int, Field(ge=64, le=1048576)] = 1024
    """open files of one process"""
    file_size: Size = 1 * GIB
    """largest file"""
    tmp: Size = 256 * MIB
    """private /tmp, in memory; at most an eighth of `memory`"""
    disk: Size = 1 * GIB
    """quota of one student's files"""


class OwnLimits(Section):
    """Limits of their own for some students; what is not given stays as it is."""

    memory: Size | None = None
    """memory of all processes together"""
    cpu: Annotated[int, Field(ge=1, le=6400)] | None = None
    """processor time, in percent of one core"""
    disk: Size | None = None
    """quota of one student's files"""


class Group(Section):
    """Students with limits of their own."""

    members: tuple[values.StudentName, ...] = ()
    """their names"""
    limits: OwnLimits = OwnLimits()
    """what one session of theirs may use; of several groups the most counts"""


class Pool(Section):
    """The unprivileged accounts on which sessions run."""

    count: Annotated[int, Field(ge=1, le=999)] = 5
    """number of accounts, which is the number of sessions at once"""
    prefix: values.AccountPrefix = "nb"
    """their names are this and a number from 1"""
    group: values.AccountName = "sageusers"
    """their primary group; the admin is in it too"""
    limits: SessionLimits = SessionLimits()
    """what one session may use"""
    groups: dict[values.RecordName, Group] = Field(default_factory=dict)
    """groups of students with limits of their own"""
    students: dict[values.StudentName, OwnLimits] = Field(default_factory=dict)
    """limits of single students, before those of their groups"""


class UnattendedUpgrades(Section):
    """Updates that the guest installs by itself."""

    enabled: bool = True
    """install updates every day"""
    origins: Literal["security", "all"] = "security"
    """which updates"""
    mail: Literal["never", "on-failure", "always"] = "on-failure"
    """when to write to root"""
    reboot: bool = True
    """restart when an update needs it"""
    reboot_time: values.TimeOfDay = "04:30"
    """when to restart, in the guest's time zone"""


class Mail(Section):
    """Where the guest's mail goes."""

    root: values.MailAddress | None = None
    """reads root's mail; null: it stays in the guest"""
    smarthost: values.HostPort | None = None
    """mail server that takes all outgoing mail, as host or host:port; null: local mail only"""


class Hooks(Section):
    """Your own Ansible work, run after ours."""

    playbooks: tuple[values.HostFile, ...] = ()
    """playbook files"""
    roles: tuple[values.HostDirectory, ...] = ()
    """role directories"""


class Profile(Section):
    """What a student may choose when a session starts."""

    title: values.Title
    """what the student reads"""
    kernels: tuple[languages.Name, ...] = ()
    """languages that it offers; none: all"""
    forked: bool = True
    """it and its kernels may be forked, where that is so at all"""
    limits: OwnLimits = OwnLimits()
    """what one session of it may use, before the limits of groups"""


class CourseMembers(Section):
    """Students and teachers with files in common: material, what is handed out, handed in."""

    members: tuple[values.StudentName, ...] = ()
    """who learns"""
    group: values.RecordName | None = None
    """a group of pool.groups whose members learn, too"""
    teachers: tuple[values.StudentName, ...] = ()
    """who fills material and hand-out, and reads what everybody hands in"""
    quota: Size = 1 * GIB
    """of material and hand-out; what is handed in counts towards each student's own"""


class GoogleSignIn(Section):
    """Sign-in by Google accounts."""

    client_id: values.Word
    """the key of the OAuth client"""
    domains: tuple[values.Domain, ...]
    """whose accounts may sign in: the domains of their mail addresses"""


class OidcSignIn(Section):
    """Sign-in by any OpenID Connect provider."""

    issuer: values.Url
    """the provider's address, under which its configuration is published"""
    client_id: values.Word
    """the name under which the provider knows this appliance"""
    title: values.Title = "your school account"
    """what the button at sign-in says"""
    username: values.Word = "email"
    """the claim that names a student"""
    domains: tuple[values.Domain, ...] = ()
    """only mail addresses of these domains may sign in; none: all"""
    groups: tuple[values.Title, ...] = ()
    """only members of one of these groups may sign in; none: all"""
    groups_claim: values.Word = "groups"
    """the claim that lists a student's groups"""


class LdapSignIn(Section):
    """Sign-in by the school's directory."""

    server: values.HostPort
    """host or host:port"""
    tls: Literal["on_connect", "before_bind", "insecure"] = "before_bind"
    """before_bind: STARTTLS; on_connect: LDAPS; insecure: passwords travel in the open"""
    template: values.Title
    """where names are, as in uid={username},ou=people,dc=example,dc=org"""
    groups: tuple[values.Title, ...] = ()
    """only members of one of these groups, given by DN, may sign in; none: all"""


class LtiCourse(Section):
    """A course of a learning platform, and which course it is here."""

    context: values.Title
    """the platform's number or name of it, the context id: in Moodle the number in its address"""
    course: values.RecordName
    """which of courses it is: who teaches it there teaches here, who learns there learns here"""
    deployment: values.Title | None = None
    """of which deployment; only needed where the platform has several"""


class Lti(Section):
    """A learning platform that opens the notebook by LTI 1.3: Moodle, Canvas, ILIAS."""

    title: values.Title = "Moodle"
    """what the sign-in page calls it"""
    issuer: values.Url
    """the platform's id"""
    client_id: values.Word
    """the name under which the platform knows this appliance"""
    deployments: tuple[values.Title, ...]
    """the platform's deployment ids of this appliance"""
    authorization: values.Url
    """the platform's authentication request address"""
    keys: values.Url
    """the platform's public keyset address"""
    token: values.Url
    """the platform's access token address"""
    audience: values.Word | None = None
    """what the platform calls its access token service; none: by that address"""
    courses: tuple[LtiCourse, ...] = ()
    """which courses there are courses here"""


class SignIn(Section):
    """Who says who a student is: the appliance's own accounts, or one of these."""

    google: GoogleSignIn | None = None
    """Google accounts"""
    oidc: OidcSignIn | None = None
    """an OpenID Connect provider"""
    ldap: LdapSignIn | None = None
    """an LDAP directory"""
    lti: tuple[Lti, ...] = ()
    """learning platforms; beside the appliance's own accounts, which administrators have"""
    admins: tuple[values.StudentName, ...] = ()
    """the names that administer the notebook; the provider's, so its own accounts' admin is none"""


class Git(Section):
    """Git in the browser, and notebooks by links that a teacher shares."""

    enabled: bool = False
    """put it into the appliance"""
    hosts: tuple[values.AllowedHost, ...] = ()
    """servers that sessions reach for it over HTTP and HTTPS, through a filtering proxy only"""


class Stores(Section):
    """Google Drive, S3, WebDAV and Nextcloud for students' files, by rclone."""

    enabled: bool = False
    """put it into the appliance"""
    hosts: tuple[values.AllowedHost, ...] = ()
    """their servers, which sessions reach through the same proxy as git's"""
    every: Duration = 600
    """a running session synchronises what is connected so often; 0: only when told to"""


class NotebookServer(Section):
    """The notebook server, in the words of the classic notebook()."""

    port: Port = records.PORT
    """port in the guest"""
    sessions_port: Port = records.SESSIONS_PORT
    """port in the guest for the sessions, whose pages are no part of the hub's origin"""
    subdomain_host: values.SubdomainHost | None = None
    """name in DNS with all names below it, where each student's sessions have one; null: none"""
    interface: values.Address = "0.0.0.0"  # noqa: S104 - the guest's; NAT decides who reaches it
    """address in the guest to listen on"""
    secure: bool | None = None
    """HTTPS; null: unless interface is a loopback address"""
    timeout: Duration = 3600
    """an idle session is saved and ended after this time; 0: never"""
    directory: values.MountPoint = "/home/students"
    """the students' files"""
    ulimit: values.Ulimit = ""
    """further limits of a session, as options of bash's ulimit, e.g. -u 100 -t 3600"""
    accounts: bool = False
    """true: a visitor may make an account; false: the admin makes them"""
    approval: bool = False
    """an account that a visitor made opens only once the admin has approved it"""
    title: values.Title = ""
    """the school's name, shown at sign-in"""
    server_pool: tuple[values.UserAtHost, ...] = ()
    """further accounts on other machines, as user@host"""
    max_sessions: Annotated[int, Field(ge=1, le=999)] | None = None
    """sessions at once; null: one for each pool account"""
    session_expiry: Duration = 43200
    """any session ends after this time; 0: never"""
    network: Literal["none", "mirror", "open"] = "none"
    """what sessions reach outside: nothing, the package mirrors, or everything"""


class TaskLimits(Section):
    """What one task of the grading sandbox may use."""

    clock: Duration = 60
    """wall time"""
    cpu: Duration = 30
    """processor time of all processes together"""
    memory: Size = 512 * MIB
    """memory of all processes together"""
    disk: Size = 128 * MIB
    """what it writes, in memory"""
    tasks: Annotated[int, Field(ge=1, le=32768)] = 128
    """processes and threads"""
    output: Size = 1 * MIB
    """kept of each output"""


class Retention(Section):
    """How long is kept what nobody needs any more; what is due goes every night."""

    archives: Duration = 0
    """the files of deleted students, in days as in 365d; 0: until an administrator removes them"""
    audit: Duration = 0
    """what administrators did to students' accounts, likewise; 0: for good"""

    @field_validator("archives", "audit")
    @classmethod
    def _days(cls, value: int) -> int:
        if 0 < value < DAY:
            raise ValueError("less than a day, and it is looked at once a night; write 1d or more")
        return value


class Grader(Section):
    """The grading sandbox: a service that runs the exercises of untrusted people."""

    enabled: bool = False
    """put it into the appliance"""
    port: Port = 8090
    """port in the guest; a forward to it opens the service to other machines, else loopback only"""
    images: dict[values.RecordName, tuple[values.PackageName, ...]] = Field(
        default_factory=lambda: dict(_IMAGES)
    )
    """root file systems by name, each a list of Debian packages; the first is the default"""
    instances: Annotated[int, Field(ge=1, le=256)] = 2
    """tasks that run at once"""
    queue: Annotated[int, Field(ge=0, le=100000)] = 100
    """tasks that may wait; 0: answer busy, as the TMC sandbox did"""
    network: tuple[values.AllowedHost, ...] = ()
    """hosts that tasks reach, through a filtering proxy only; none: no network"""
    notify_allow: tuple[str, ...] = ()
    """exercise servers that may be notified at a private address: names or networks"""
    limits: TaskLimits = TaskLimits()
    """what one task may use"""

    @field_validator("images")
    @classmethod
    def _some(cls, images: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        if not images:
            raise ValueError("no image to run tasks in; write python: [python3]")
        return images


class Jail(Section):
    """The Python jail: a chroot and the command safeexec."""

    enabled: bool = False
    """put it into the appliance"""
    pip: tuple[values.PythonPackage, ...] = ()
    """packages from PyPI to add, with the libraries that they link to"""
    packages: tuple[values.PackageName, ...] = ()
    """packages of the distribution to add"""


class Config(Section):
    """Everything that is configured about one appliance."""

    name: values.HostName = "sage"
    """name of the VM and host name of the guest"""
    version: values.Version = "1.0"
    """the appliance's own version, in the OVA"""
    distribution: Name = "debian"
    """what the guest runs"""
    suite: values.Suite = DISTRIBUTIONS["debian"].suites[0]
    """its release; unless given, the newest stable one that we build (ubuntu: resolute)"""
    arch: ArchName | None = None
    """processor architecture of the guest; null: this host's"""
    mirror: values.Url | None = None
    """package mirror; null: the one in this host's apt configuration, or the distribution's own"""
    apt_sources: tuple[AptSource, ...] = ()
    """further package sources"""
    proxy: values.ProxyUrl | None = None
    """HTTP proxy for downloads while building, without password; null: this host's own"""
    ca_certificates: tuple[values.HostFile, ...] = ()
    """PEM files of certificate authorities that the guest trusts for good"""
    locale: values.Locale = "en_US.UTF-8"
    """language and character set; messages in other languages, but English, are left out"""
    timezone: values.Timezone = "UTC"
    """time zone, by the name that the guest's tzdata has"""
    keyboard: values.Keyboard = "us"
    """keyboard layout of the console, as XKB calls it"""
    cpus: Annotated[int, Field(ge=1, le=64)] = 2
    """processors of the VM"""
    memory: Size = 6 * GIB
    """memory of the VM"""
    swap: Literal["none", "zram"] = "none"
    """swap space; zram: in compressed memory"""
    disks: dict[values.RecordName, Disk] = Field(
        default_factory=lambda: {name: Disk(**record) for name, record in records.DISKS.items()}
    )
    """disks by name; root and home are always there"""
    image: Image | None = None
    """start from this cloud image instead of the mirror"""
    network: Network = Network()
    """how the guest is reached"""
    admin: Admin = Admin()
    """who administers the guest"""
    pool: Pool = Pool()
    """the accounts on which sessions run"""
    packages: tuple[values.PackageName, ...] = ()
    """Debian packages to add to ours"""
    unattended_upgrades: UnattendedUpgrades = UnattendedUpgrades()
    """updates that the guest installs by itself"""
    mail: Mail = Mail()
    """where the guest's mail goes"""
    hooks: Hooks = Hooks()
    """your own Ansible work, run after ours"""
    sage: Sage = Sage()
    """which Sage goes in"""
    notebook: NotebookServer = NotebookServer()
    """the notebook server"""
    sign_in: SignIn = SignIn()
    """who says who a student is"""
    kernels: Kernels = Kernels()
    """further languages"""
    documentation: tuple[books.Name, ...] | None = None
    """books to read and search in a session, without a network; null: about all that is there"""
    profiles: dict[values.RecordName, Profile] = Field(default_factory=dict)
    """what students choose from when a session starts; none: no choice"""
    courses: dict[values.RecordName, CourseMembers] = Field(default_factory=dict)
    """courses by name"""
    git: Git = Git()
    """git in the browser"""
    stores: Stores = Stores()
    """stores outside the appliance for students' files"""
    retention: Retention = Retention()
    """how long archives of deleted students and the audit are kept"""
    grader: Grader = Grader()
    """the grading sandbox"""
    jail: Jail = Jail()
    """the Python jail"""

    @model_validator(mode="before")
    @classmethod
    def _sessions_forward(cls, data: Any) -> Any:
        return records.with_sessions(data)

    @model_validator(mode="before")
    @classmethod
    def _suite_of_distribution(cls, data: Any) -> Any:
        if isinstance(data, dict) and "suite" not in data:
            for name, known in DISTRIBUTIONS.items():
                if data.get("distribution") == name:
                    return {**data, "suite": known.suites[0]}
        return data

    @field_validator("disks", mode="before")
    @classmethod
    def _merge(cls, value: Any) -> Any:
        return records.with_defaults(value, records.DISKS)

    @property
    def architecture(self) -> ArchName:
        """The guest's processor architecture."""
        return self.arch or of_this_host()

    @property
    def https(self) -> bool:
        """Whether the notebook serves HTTPS: as told, else unless only the guest can reach it."""
        if self.notebook.secure is not None:
            return self.notebook.secure
        return not ip_address(self.notebook.interface).is_loopback

    @property
    def sessions(self) -> int:
        """How many sessions may run at once on this appliance's own accounts."""
        return min(self.notebook.max_sessions or self.pool.count, self.pool.count)

    @property
    def pool_accounts(self) -> tuple[str, ...]:
        """The names of the pool's accounts."""
        return tuple(f"{self.pool.prefix}{n}" for n in range(1, self.pool.count + 1))

    def learners(self, course: CourseMembers) -> set[str]:
        """Everybody who learns in a course: its members and those of its group."""
        group = self.pool.groups.get(course.group) if course.group is not None else None
        return {*course.members, *(group.members if group else ())}
