# SPDX-License-Identifier: GPL-2.0-only
"""What lives on the host: a web server with a customer's site, mail, cron, users, and attackers.

Nothing here is smtpfence's; that is fence.py.
"""

import collections

from far import Far
from host import until

SHOP = "/var/www/shop"
POOL_USER, CRON_USER, SESSION_USER = "web1", "web2", "alice"
Answer = collections.namedtuple("Answer", "count first last")
EPERM = 1

NETWORK = f"""[Match]
Name=eth0

[Network]
LinkLocalAddressing=no
IPv6AcceptRA=no
Gateway={Far.MAIL4}
Gateway={Far.MAIL6}

[Address]
Address={Far.HOST4}/24

[Address]
Address={Far.HOST6}/64
DuplicateAddressDetection=none
"""

# One connection for each recipient, and soon another try: so that a denied one shows.
MAIN_CF = f"""compatibility_level = 3.6
myhostname = host.test
mydestination = host.test, localhost
inet_interfaces = loopback-only
inet_protocols = all
relayhost = [{Far.MAIL4}]
disable_dns_lookups = yes
default_destination_recipient_limit = 1
smtp_connection_cache_on_demand = no
smtp_helo_timeout = 60s
smtp_tls_security_level = none
queue_run_delay = 3s
minimal_backoff_time = 2s
maximal_backoff_time = 4s
maillog_file =
"""

POOL = f"""[shop]
user = {POOL_USER}
group = {POOL_USER}
listen = /run/php/shop.sock
listen.owner = www-data
pm = static
pm.max_children = 2
"""

SITE = f"""server {{
    listen 127.0.0.1:80 default_server;
    root {SHOP};
    location ~ \\.php$ {{
        include snippets/fastcgi-php.conf;
        fastcgi_pass unix:/run/php/shop.sock;
    }}
}}
"""

HIJACKED_PAGE = f"""<?php
$fd = @stream_socket_client("tcp://{Far.OTHER4}:" . (int)$_GET["port"], $number, $text, 30);
echo $fd ? "connected" : "errno $number";
"""

MAIL_PAGE = """<?php
echo mail("buyer@far.test", "order", $_GET["token"]) ? "sent" : "failed";
"""

# The earliest that a unit with the usual dependencies runs, and one that waits for nothing at all.
ATTACKERS = {"ordinary": ("", "multi-user.target"),
             "first": ("DefaultDependencies=no\nConflicts=shutdown.target\n"
                       "Before=shutdown.target\n", "sysinit.target")}
ATTACKER = """[Unit]
Description=a hijacked service
{unit}
[Service]
ExecStart=/usr/local/sbin/attacker /run/{name} {to} 100
[Install]
WantedBy={wanted}
"""


def set_up(host):
    host.must("cp /mnt/attacker /usr/local/sbin/ && mkdir -p /usr/src && "
              "cp -a /mnt/one /mnt/two /usr/src/")
    host.must(f"for u in {POOL_USER} {CRON_USER} {SESSION_USER}; do "
              "useradd -m -s /bin/bash $u; done; "
              f"mkdir -p {SHOP}; rm -f /etc/nginx/sites-enabled/*")
    for path, text in {
            "/etc/systemd/network/10-eth0.network": NETWORK,
            "/etc/postfix/main.cf": MAIN_CF,
            # 50 restarts are meant here, and systemd allows 5 in 10 s
            "/etc/systemd/system/postfix@.service.d/often.conf": "[Unit]\nStartLimitBurst=1000\n",
            "/etc/systemd/system/postfix.service.d/often.conf": "[Unit]\nStartLimitBurst=1000\n",
            "/etc/php/8.2/fpm/pool.d/shop.conf": POOL,
            "/etc/nginx/sites-enabled/shop": SITE,
            f"{SHOP}/contact.php": HIJACKED_PAGE,
            f"{SHOP}/order.php": MAIL_PAGE,
            "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n"}.items():
        host.write(path, text)
    for name, (unit, wanted) in ATTACKERS.items():
        host.write(f"/etc/systemd/system/attacker-{name}.service",
                   ATTACKER.format(name=f"attacker-{name}", unit=unit, wanted=wanted,
                                   to=Far.OTHER4))
    host.must("systemctl daemon-reload && systemctl -q enable --now systemd-networkd nginx "
              "php8.2-fpm postfix 2>&1")
    until(lambda: not host.run(f"ip route get {Far.OTHER4}").code, "the route to the far end")


def page(host, name, **query):
    """What the site's page says, asked for over HTTP."""
    text = "&".join(f"{k}={v}" for k, v in query.items())
    return host.must("/usr/bin/python3", "-c", "import sys, urllib.request; "
                     "print(urllib.request.urlopen(sys.argv[1], timeout=300).read().decode())",
                     f"http://127.0.0.1/{name}.php?{text}").strip()


# ---- attackers: attacker.c as a service ----

class Attacker:
    """`with Attacker(host): ...`: a service that tries 100 times a second from begin to end."""

    def __init__(self, host, name="attacker-ordinary"):
        self.host, self.name = host, name

    def __enter__(self):
        self.host.must("systemctl", "start", self.name)
        until(self.log, "the attacker's first words")
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.host.must("systemctl", "stop", self.name)

    def log(self):
        """{(port, errno): Answer}; errno 0: connected."""
        found = {}
        for line in self.host.run("cat", f"/run/{self.name}").out.splitlines():
            port, error, count, first, last = line.split()
            found[int(port), int(error)] = Answer(int(count), float(first), float(last))
        return found

    def through(self):
        return self.log().get((25, 0), Answer(0, 0, 0)).count

    def denied(self):
        return self.log().get((25, EPERM), Answer(0, 0, 0)).count


def container(host, name, *argv, option="--register=yes"):
    """What a command says in a container that shares this system's /usr. Its root is root."""
    return host.must("timeout", "600", "systemd-nspawn", "--quiet", "--pipe", "--directory=/",
                     "--volatile=yes", f"--machine={name}", option, *argv).replace("\r", "")


def send_mail(host, token, recipients=1):
    """By the sendmail command, as root."""
    host.must("/usr/sbin/sendmail", "-f", "shop@host.test",
              *(f"{token}-{n}@far.test" for n in range(recipients)),
              input=f"Subject: {token}\n\n{token}\n")


def queue_is_empty(host):
    return "Mail queue is empty" in host.run("mailq").out
