# Makes accounts in a machine and starts its sshd: openssh ADMIN VARIABLES NETWORK SSHD-OPTIONS...
# NETWORK is NAME=value, a line each. The standard output is the system's os-release. The standard input has a line "NAME HASH" for each account.
set -e
exec 3>&1 >/dev/null
umask 022
admin=$1
variables=$2
network=$3
shift 3
PATH=$PATH:/usr/sbin:/sbin
sshd=$(command -v sshd) && command -v useradd >/dev/null && command -v chpasswd >/dev/null || exit 3

cat /etc/os-release /usr/lib/os-release >&3 2>/dev/null || :
exec 3>&-
chmod 755 /home
shell=/bin/bash
[ -x $shell ] || shell=/bin/sh
while read -r name hash; do
  home=/home/$name
  [ -d "$home/.ssh" ] || mkdir -p "$home/.ssh"
  new=
  if ! id -u "$name" >/dev/null 2>&1; then
    # The disk may be older than the system: its files say who owns them.
    uid=$(stat -c %u "$home")
    same=
    [ "$uid" = 0 ] || same="-o -u $uid"
    useradd -M -U -p '*' -d "$home" -s $shell $same "$name" 2>/dev/null || useradd --badname -M -U -p '*' -d "$home" -s $shell $same "$name"
    new=1
  elif [ "$(getent passwd "$name" | cut -d: -f6)" != "$home" ]; then
    usermod -d "$home" -s $shell "$name"
  fi
  [ "$new$hash" = "1*" ] || printf '%s:%s\n' "$name" "$hash" | chpasswd -e
  group=$(id -g "$name")
  if [ "$(stat -c %u "$home")" != "$(id -u "$name")" ]; then
    for f in /etc/skel/.[!.]*; do
      [ ! -f "$f" ] || [ -e "$home/${f##*/}" ] || cp "$f" "$home/"
    done
    chown -R "$name:$group" "$home"
  fi
  chown -R "$name:$group" "$home/.ssh"
  chmod 700 "$home/.ssh"
  [ ! -f "$home/.ssh/authorized_keys" ] || chmod 600 "$home/.ssh/authorized_keys"
done
if [ -d /etc/sudoers.d ]; then
  printf '%s ALL=(ALL) NOPASSWD:ALL\n' "$admin" >/etc/sudoers.d/.lazulite
  chmod 440 /etc/sudoers.d/.lazulite
  mv /etc/sudoers.d/.lazulite /etc/sudoers.d/90-cloud-init-users
fi

# Of the network it has what holds now. What the last time gave goes, but not what its user wrote.
mkdir -p /run/sshd
given=/run/sshd/environment
nl='
'
if [ -f $given ] && [ -f /etc/environment ]; then
  rest=$(grep -vxFf $given /etc/environment) || :
  printf '%s' "${rest:+$rest$nl}" >/etc/environment
fi
had=
[ ! -f /etc/environment ] || had=$(cat /etc/environment)
has() {
  case "$nl$had" in
    *"$nl$1="*) ;;
    *) return 1 ;;
  esac
}
# A login has what the container was given of tools and devices, too.
for v in $variables; do
  eval "value=\${$v-} is=\${$v+set}"
  [ -z "$is" ] || has $v || echo "$v=$value" >>/etc/environment
done
: >$given
[ -z "$network" ] || printf '%s\n' "$network" | while read -r line; do
  has "${line%%=*}" || { echo "$line" >>$given; echo "$line" >>/etc/environment; }
done
# The kernel's audit may be another container's.
[ ! -f /etc/pam.d/sshd ] || sed -i 's/^session *required *pam_loginuid/session optional pam_loginuid/' /etc/pam.d/sshd

chmod 755 /run/sshd
# Who got in and who did not is on record, as lastb and auth.log have it.
for f in btmp auth.log; do
  [ -e /var/log/$f ] || install -m 600 /dev/null /var/log/$f
done
set -- -E /var/log/auth.log "$@"
# Newer ones would punish the relay for what one client does; older ones have other names.
# Clients of 2018, paramiko 2.4 among them, sign with RSA and SHA-1 alone.
# What a server knows it has by name in itself: asking it (sshd -T) takes longer than all else here.
for o in pubkeyacceptedalgorithms=+ssh-rsa persourcepenalties=no kbdinteractiveauthentication=no challengeresponseauthentication=no; do
  ! LC_ALL=C grep -aqF "${o%%=*}" "$sshd" || set -- "$@" -o $o
done
if read -r pid </run/sshd.pid && [ "$(cat "/proc/$pid/comm")" = sshd ]; then
  [ "$(cat /run/sshd/arguments)" != "$*" ] || exit 0
  # Sessions go on without the one that listens.
  kill "$pid" || :
  while [ -e "/proc/$pid" ] && [ "$(cat "/proc/$pid/comm")" = sshd ]; do sleep 0.02; done
fi 2>/dev/null
echo "$*" >/run/sshd/arguments
exec "$sshd" "$@"
