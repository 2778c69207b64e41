"""Archives that cannot write outside of their folder."""
import os
import tarfile


class Bad(Exception):
    """An archive that is none, or one that would write elsewhere."""


def unpack(path, folder):
    """Unpacks a tar, compressed or not, below folder."""
    top = os.path.realpath(folder)
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                target = os.path.realpath(os.path.join(top, member.name))
                if target != top and not target.startswith(top + os.sep):
                    raise Bad("The archive has '%s', which is outside of it." % member.name)
                if member.isdev():
                    raise Bad("The archive has the device '%s'." % member.name)
                if member.islnk() or member.issym():
                    base = top if member.islnk() else os.path.dirname(target)
                    leads = os.path.realpath(os.path.join(base, member.linkname))
                    if leads != top and not leads.startswith(top + os.sep):
                        raise Bad("The archive has the link '%s', which leads out of it." % member.name)
                # Owners are of another machine.
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                member.mode |= 0o600 if not member.isdir() else 0o700
                tar.extract(member, top, **_FILTER)
    except (tarfile.TarError, EOFError, OSError) as e:
        raise Bad("The archive cannot be unpacked: %s" % e)


def pack(folder, path, root):
    """Packs what is in folder as root/... ; compressed lightly, for it is read more often than stored long."""
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        tar.add(folder, arcname=root)


def trusted(path, folder):
    """Unpacks an archive that pack made: its links are its own."""
    with tarfile.open(path) as tar:
        tar.extractall(folder, **_TRUSTED)


# Python 3.12 and later want to be told; the checks are above.
_FILTER = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
_TRUSTED = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
