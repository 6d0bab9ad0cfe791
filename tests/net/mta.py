# SPDX-License-Identifier: GPL-2.0-only
"""Real mail servers for the tests: Postfix, Exim and OpenSMTPD, none of them installed.

Each runs from a root file system of its own: a private mount namespace with an overlay over the
machine's /, into whose upper layer, in memory, goes what fetch_mta.sh unpacked. Its users, its
spool and its configuration exist only there, so that three packages which exclude each other run on
one machine and leave nothing behind. What they share with the host is what the fence looks at: the
kernel, the cgroups, and the network namespace that the caller names.

The other end of the wire is sink.py. Nothing in this file knows of smtpfence.
"""
import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time

import cgroups
import netns as namespaces

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("SMTPFENCE_CACHE", "/var/cache/smtpfence-tests")) / "mta"

# Accounts of the private root. High numbers, so that none of them means somebody on the host: the
# fence's configuration, which is read outside, names them by number.
UID = {"postfix": 28101, "postdrop": 28102, "Debian-exim": 28111,
       "opensmtpd": 28121, "opensmtpq": 28122, "web1": 28201}
CUSTOMERS = ("web1",)
LOCAL_DOMAIN = "local.test"     # delivered on the spot: mailboxes, .forward programs
BOUND = 15                      # seconds that any single condition may take


class MtaError(RuntimeError):
    """A mail server could not be had, started or stopped; the text says why, with its log."""


class Unavailable(MtaError):
    """Its packages are not here and cannot be fetched."""


def wait_for(condition, what, bound=BOUND):
    """The first true value of condition(); MtaError naming `what` when the bound passes."""
    deadline = time.monotonic() + bound
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise MtaError(f"waited {bound} s for {what() if callable(what) else what}")
        time.sleep(0.02)


class PrivateRoot:
    """/ with a mail server added, seen only by those who enter it; gone with its last process.

    A holder process keeps the mount namespace. It reads a pipe from us, so that when this process
    dies, however it dies, the holder ends everything in the cgroup and the mounts go with them.
    """
    SETUP = """
        set -e
        mount -t tmpfs -o size=256m,mode=755 mta "$1"
        mkdir "$1/upper" "$1/work" "$1/root"
        cp -a "$2/." "$1/upper/"
        mount -t overlay -o lowerdir=/,upperdir="$1/upper",workdir="$1/work" mta "$1/root"
        for dir in proc sys dev; do mount --rbind /$dir "$1/root/$dir"; done
        for dir in run tmp; do mount -t tmpfs -o size=64m mta "$1/root/$dir"; done
        chmod 755 "$1/root/run"
        echo ready
        cat >/dev/null
        echo 1 >"$3/cgroup.kill" || xargs kill -9 <"$3/cgroup.procs"
    """

    def __init__(self, tree, cgroup):
        self._base = tempfile.mkdtemp(prefix=f"smtpfence-test-{os.getpid()}-mta-", dir="/tmp")
        self._mounted = f"{self._base}/root"
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation=private",
             "sh", "-c", self.SETUP, "sh", self._base, tree, cgroup],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True)
        if self._holder.stdout.readline() != b"ready\n":
            message = self._holder.stderr.read().decode(errors="replace").strip()
            self.close()
            raise MtaError(f"cannot make a private root for {tree}: {message}")

    def path(self, name):
        """Where a file of the private root is for this process, which stays outside.

        A link with an absolute target would lead from there to the host's own file: refused.
        """
        path = pathlib.Path(f"/proc/{self._holder.pid}/root{self._mounted}")
        for part in pathlib.PurePath(name.lstrip("/")).parts:
            if path.is_symlink() and os.readlink(path).startswith("/"):
                raise MtaError(f"{path} leads out of the private root, to {os.readlink(path)}")
            path /= part
        return path

    def write(self, name, text, mode=0o644, uid=0):
        path = self.path(name)
        self.mkdir(str(pathlib.PurePath(name).parent))
        path.unlink(missing_ok=True)        # /etc/resolv.conf may be a link
        path.write_text(text)
        os.chown(path, uid, uid)
        path.chmod(mode)

    def mkdir(self, name, mode=None, uid=None, gid=None):
        """With its parents; an existing directory is changed only in what is given."""
        path = self.path(name)
        path.mkdir(parents=True, exist_ok=True)
        if uid is not None:
            os.chown(path, uid, uid if gid is None else gid)
        if mode is not None:
            path.chmod(mode)

    def setgid(self, name, gid):
        os.chown(self.path(name), 0, gid)
        self.path(name).chmod(0o2755)

    def command(self, argv, cgroup, netns, uid=0):
        """The argv that runs `argv` in this root, as `uid`, in a cgroup and a network namespace."""
        return ["/bin/sh", "-c", 'echo 0 >"$1/cgroup.procs" && shift && exec "$@"',
                "sh", str(cgroup),
                "nsenter", f"--target={self._holder.pid}", "--mount", f"--net={netns}",
                "chroot", f"--userspec={uid}:{uid}", "--groups=", self._mounted,
                "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *argv]

    def close(self):
        with contextlib.suppress(OSError):
            self._holder.stdin.close()
        try:
            self._holder.wait(BOUND)
        except subprocess.TimeoutExpired:
            self._holder.kill()
            self._holder.wait()
        self._holder.stdout.close()
        self._holder.stderr.close()
        shutil.rmtree(self._base, ignore_errors=True)


class Mta:
    """One mail server: in a cgroup (a directory, made by start), in a network namespace (a path).

    routes: {domain: address literal}; everything for the domain goes to that address, port 25.
    Use as a context manager; between stop() and start() its spool and its root stay.
    """
    name = None             # as in fetch_mta.sh
    users = ()              # who must be able to open connections to the world
    log_file = None         # in its own root

    def __init__(self, cgroup, netns, routes):
        self.cgroup, self.netns, self.routes = str(cgroup), str(netns), routes
        self.fetch()
        self.root = PrivateRoot(CACHE / self.name, self.cgroup)
        try:
            self._accounts()
            self.configure()
        except BaseException:
            self.root.close()
            raise

    @classmethod
    def fetch(cls):
        """Its packages are unpacked when this returns; Unavailable says why not."""
        done = subprocess.run([HERE / "fetch_mta.sh", cls.name], capture_output=True, text=True)
        if done.returncode:
            raise Unavailable(done.stderr.strip())

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    def uids(self):
        return [UID[user] for user in self.users]

    def _accounts(self):
        with self.root.path("etc/passwd").open("a") as passwd, \
                self.root.path("etc/group").open("a") as group:
            for user, uid in UID.items():
                passwd.write(f"{user}:x:{uid}:{uid}:{user}:/home/{user}:/bin/sh\n")
                group.write(f"{user}:x:{uid}:\n")
        for user in CUSTOMERS:
            self.root.mkdir(f"home/{user}", 0o711, UID[user])
        # Nobody answers questions about names here, and asking must fail at once, not time out.
        self.root.write("etc/resolv.conf",
                        "nameserver 127.0.0.1\noptions attempts:1 timeout:1\nlookup file\n")
        self.root.write("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
        self.root.write("etc/nsswitch.conf",
                        "passwd: files\ngroup: files\nhosts: files\nservices: files\n")
        self.root.write("etc/mailname", "mta.test\n")

    # What a mail server has to say for itself.
    def configure(self):
        raise NotImplementedError

    def launch(self):
        raise NotImplementedError

    def shut_down(self):
        """Ask it to stop; whoever is left is killed by stop()."""

    def flush(self):
        """Try everything in the queue now, from the mail server's own cgroup."""
        raise NotImplementedError

    def log(self):
        path = self.root.path(self.log_file)
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self):
        """Returns when it answers on port 25; MtaError with its log when it does not."""
        os.makedirs(self.cgroup, exist_ok=True)
        self.launch()
        wait_for(self._greets,
                 lambda: f"{self.name} to answer on port 25; its log:\n{self.log()[-3000:]}")

    def _greets(self):
        def dial():
            with socket.create_connection(("127.0.0.1", 25), 5) as connection:
                return connection.recv(4).startswith(b"220")
        try:
            return namespaces.inside(self.netns, dial)
        except OSError:
            return False

    def stop(self):
        """Nothing of it runs, and its cgroup is gone, when this returns."""
        if not os.path.isdir(self.cgroup):
            return
        self.shut_down()
        cgroups.remove_tree(self.cgroup, BOUND)

    def close(self):
        try:
            self.stop()
        finally:
            self.root.close()

    def command(self, argv, cgroup=None, user="root"):
        """The argv for something beside the server; in its cgroup unless another one is named."""
        return self.root.command(argv, cgroup or self.cgroup, self.netns, UID.get(user, 0))

    def run(self, argv, cgroup=None, user="root", text=None, check=True):
        done = subprocess.run(self.command(argv, cgroup, user), input=text or "", text=True,
                              capture_output=True, timeout=2 * BOUND)
        if check and done.returncode:
            raise MtaError(f"{self.name}: {' '.join(argv[:3])}: exit status {done.returncode}: "
                           f"{(done.stderr or done.stdout).strip()}\n{self.log()[-2000:]}")
        return done

    def sendmail(self, recipient, body, cgroup, user="web1"):
        """A message handed to the local sendmail binary, as a customer's program does it."""
        text = f"From: {user}@mta.test\nTo: {recipient}\nSubject: by sendmail\n\n{body}\n"
        return self.run(["/usr/sbin/sendmail", "-t", "-i"], cgroup, user, text)


class Postfix(Mta):
    name = "postfix"
    users = ("postfix",)
    log_file = "var/log/postfix.log"

    def configure(self):
        self.root.write("etc/postfix/main.cf", f"""
compatibility_level = 3.6
myhostname = mta.test
mydestination = mta.test, {LOCAL_DOMAIN}, localhost
mynetworks_style = host
inet_interfaces = all
inet_protocols = all
smtp_dns_support_level = disabled
transport_maps = texthash:/etc/postfix/transport
alias_maps = texthash:/etc/postfix/aliases
alias_database =
maillog_file = /{self.log_file}
maillog_file_prefixes = /var
""")
        self.root.write("etc/postfix/transport", "".join(
            f"{domain} smtp:[{address}]:25\n" for domain, address in self.routes.items()))
        # As Debian has it, but for the change of root of each daemon: they live in one already.
        services = self.root.path("usr/share/postfix/master.cf.dist").read_text()
        self.root.write("etc/postfix/master.cf", re.sub(
            r"^(\w\S*\s+\S+\s+\S+\s+\S+\s+)y", r"\1n", services, flags=re.MULTILINE))
        self.root.write("etc/postfix/aliases", "postmaster root\n")
        self.root.write("etc/postfix/dynamicmaps.cf", "")
        postfix, postdrop = UID["postfix"], UID["postdrop"]
        self.root.mkdir("var/spool/postfix", 0o755, 0)
        self.root.mkdir("var/lib/postfix", 0o755, postfix)
        for name in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold",
                     "incoming", "private", "saved", "trace"):
            self.root.mkdir(f"var/spool/postfix/{name}", 0o700, postfix, 0)
        self.root.mkdir("var/spool/postfix/pid", 0o755, 0)
        self.root.mkdir("var/spool/postfix/maildrop", 0o1730, postfix, postdrop)
        self.root.mkdir("var/spool/postfix/public", 0o2710, postfix, postdrop)
        for name in ("postdrop", "postqueue"):
            self.root.setgid(f"usr/sbin/{name}", postdrop)

    def launch(self):
        self.run(["postfix", "start"])

    def shut_down(self):
        self.run(["postfix", "stop"], check=False)

    def flush(self):
        self.run(["postqueue", "-f"])


class Exim(Mta):
    """queue_only: what sendmail takes stays in the spool for the daemon, instead of being sent by
    whoever called sendmail, in the caller's cgroup."""
    name = "exim"
    users = ("Debian-exim",)
    log_file = "var/log/exim4/mainlog"

    def __init__(self, cgroup, netns, routes, queue_only=False):
        self.queue_only = queue_only
        super().__init__(cgroup, netns, routes)

    def configure(self):
        # Two lists, one in the other, and addresses with colons in them: each names its separator.
        routes = " ; ".join(f'{domain} "<+ {address}"' for domain, address in self.routes.items())
        self.root.write("etc/exim4/exim4.conf", f"""
primary_hostname = mta.test
acl_smtp_rcpt = acl_rcpt
acl_smtp_data = accept
local_interfaces = <; 0.0.0.0 ; ::0
host_lookup =
tls_advertise_hosts =
keep_environment =
queue_only = {str(self.queue_only).lower()}
begin acl
acl_rcpt:
  accept hosts = <; ; 127.0.0.1 ; ::1 ; @[]
  deny
begin routers
world:
  driver = manualroute
  domains = {' : '.join(self.routes)}
  transport = wire
  route_list = <; {routes}
begin transports
wire:
  driver = smtp
begin retry
* * F,1h,1m
""")
        uid = UID["Debian-exim"]
        for name in ("", "/db", "/input", "/msglog"):
            self.root.mkdir(f"var/spool/exim4{name}", 0o750, uid)
        self.root.mkdir("var/log/exim4", 0o2750, uid)
        self.root.mkdir("run/exim4", 0o750, uid)

    def launch(self):
        self.run(["exim4", "-bd"])

    def flush(self):
        # Twice f: also what has failed before and is not due yet.
        self.run(["exim4", "-qff"])


class OpenSmtpd(Mta):
    name = "opensmtpd"
    users = ("opensmtpd",)
    log_file = "var/log/smtpd.log"

    def configure(self):
        listen = "listen on 0.0.0.0 hostname mta.test\nlisten on :: hostname mta.test\n"
        actions, matches = [], []
        for number, (domain, address) in enumerate(self.routes.items()):
            host = f"[{address}]" if ":" in address else address
            actions.append(f'action "world{number}" relay host smtp://{host}\n')
            matches.append(f'match from any for domain "{domain}" action "world{number}"\n')
        self.root.write("etc/smtpd.conf", listen + "".join(actions + matches))
        self.root.mkdir("var/lib/opensmtpd/empty", 0o755, 0)
        self.root.mkdir("var/spool/smtpd", 0o711, 0)
        self.root.setgid("usr/sbin/smtpctl", UID["opensmtpq"])

    def launch(self):
        # -d: in the foreground, with its log on stderr; there is no syslog of its own in this root.
        with self.root.path(self.log_file).open("a") as log:
            self._daemon = subprocess.Popen(self.command(["smtpd", "-d"]), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, start_new_session=True)

    def stop(self):
        super().stop()
        if getattr(self, "_daemon", None):
            self._daemon.wait(BOUND)

    def flush(self):
        self.run(["smtpctl", "schedule", "all"])
