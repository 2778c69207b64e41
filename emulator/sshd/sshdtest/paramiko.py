"""What the SDK of 2018 does with paramiko 2.4.2: log in, run, copy, forward."""
import io
import sys

import paramiko

host, port, user, password, key_file, home = sys.argv[1:7]
port = int(port)


def connect(**how):
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect(host, port=port, username=user, look_for_keys=False, allow_agent=False, timeout=20, **how)
    return client


def run(client, command, stdin=None, pty=False):
    given, out, err = client.exec_command(command, get_pty=pty)
    if stdin is not None:
        given.write(stdin)
        given.channel.shutdown_write()
    return out.read().decode(), err.read().decode(), out.channel.recv_exit_status()


assert paramiko.__version__ == "2.4.2", paramiko.__version__
try:
    connect(password="wrong")
    raise SystemExit("a wrong password was taken")
except paramiko.AuthenticationException:
    pass
with_key = connect(pkey=paramiko.RSAKey.from_private_key_file(key_file))
assert run(with_key, "echo by key") == ("by key\n", "", 0)
with_key.close()

client = connect(password=password)
assert run(client, "echo out; echo err >&2; exit 7") == ("out\n", "err\n", 7)
assert run(client, "cat", stdin="typed") == ("typed", "", 0)
out, _, status = run(client, "tty; exit 3", pty=True)
assert out.startswith("/dev/") and status == 3, (out, status)
# A run goes on when the command that began it has ended.
assert run(client, "nohup sh -c 'sleep 0.2; echo later > later' >/dev/null 2>&1 < /dev/null &")[2] == 0
assert run(client, "until [ -s later ]; do sleep 0.02; done; cat later")[0] == "later\n"

sftp = client.open_sftp()
assert sftp.normalize(".") == home, sftp.normalize(".")
data = bytes(bytearray(range(256))) * 8192
sftp.putfo(io.BytesIO(data), "project.zip")
assert sftp.stat("project.zip").st_size == len(data)
back = io.BytesIO()
sftp.getfo(home + "/project.zip", back)
assert back.getvalue() == data
sftp.mkdir("azureml_runs")
sftp.posix_rename("project.zip", "azureml_runs/project.zip")
assert sftp.listdir("azureml_runs") == ["project.zip"]
try:
    sftp.stat("absent")
    raise SystemExit("an absent file has a stat")
except IOError:
    pass

transport = client.get_transport()
far = transport.request_port_forward("127.0.0.1", 0)
assert far > 0
_, out, _ = client.exec_command("bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d; echo ask >&3; head -n 1 <&3'" % far)
channel = transport.accept(20)
assert channel.recv(4) == b"ask\n"
channel.sendall(b"answer\n")
assert out.read() == b"answer\n"
transport.cancel_port_forward("127.0.0.1", far)
client.close()
print("all well")
