"""SDK 0.1.68: a web service with a certificate of its owner's answers https with it, under the owner's name."""
import datetime
import os
import ssl
import tempfile

import requests
from azureml.core.image import ContainerImage
from azureml.core.webservice import AciWebservice, Webservice
from azureml.exceptions import WebserviceException
from cryptography import x509
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from check import raises, workspace

NAME, OTHER = "model.lazulite-ssl.test", "other.lazulite-ssl.test"

ws = workspace("wsssl")
os.chdir(tempfile.mkdtemp())


def certificate(stem, name):
    """Writes stem.pem and stem.key, which stand for what an owner has bought."""
    key = rsa.generate_private_key(65537, 2048, default_backend())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.utcnow()
    cert = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256(), default_backend()))
    with open(stem + ".pem", "wb") as f:
        f.write(cert.public_bytes(serialization.Encoding.PEM))
    with open(stem + ".key", "wb") as f:
        f.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()))


def served(address):
    """The certificate that is shown at an address, by itself."""
    pem = ssl.get_server_certificate((address, 443)).strip()
    for stem in ("one", "two"):
        with open(stem + ".pem") as f:
            if f.read().strip() == pem:
                return stem


certificate("one", NAME)
certificate("two", OTHER)
with open("score.py", "w") as f:
    f.write("def init():\n    pass\n\n\ndef run(raw):\n    return raw[::-1]\n")
with open("env.yml", "w") as f:
    f.write("name: e\ndependencies:\n- python=3.6.2\n")
image = ContainerImage.create(ws, "ssl", [], ContainerImage.image_configuration(execution_script="score.py", runtime="python", conda_file="env.yml"))
image.wait_for_creation()

# -- what does not fit is refused, and nothing is deployed ------------------------
deploy = lambda name, **ssl: Webservice.deploy_from_image(ws, name, image, AciWebservice.deploy_configuration(auth_enabled=True, ssl_enabled=True, **ssl))
raises(WebserviceException, "InvalidSslCertificate", deploy, "unfit", ssl_cert_pem_file="one.pem", ssl_key_pem_file="two.key", ssl_cname=NAME)
assert Webservice.list(ws) == []

# -- https, with that certificate, under that name ---------------------------------
service = deploy("ssl-svc", ssl_cert_pem_file="one.pem", ssl_key_pem_file="one.key", ssl_cname=NAME)
service.wait_for_deployment(show_output=True)
assert service.state == "Healthy", (service.error, service.get_logs())
service = Webservice(ws, name="ssl-svc")
assert service.scoring_uri == "https://%s:443/score" % NAME, service.scoring_uri
assert service.ssl_enabled and service.cname == NAME and service.ssl_key is None
headers = {"Authorization": "Bearer " + service.get_keys()[0]}
answer = requests.post(service.scoring_uri, "abc", headers=headers, verify="one.pem")
assert answer.status_code == 200 and answer.json() == "cba", answer.text
assert requests.post(service.scoring_uri, "abc", verify="one.pem").status_code == 401
raises(requests.exceptions.SSLError, "certificate", requests.post, service.scoring_uri, "abc", headers=headers, verify="two.pem")
raises(requests.exceptions.SSLError, NAME, requests.post, service.scoring_uri.replace(NAME, service.public_ip), "abc", headers=headers, verify="one.pem")
assert served(service.public_ip) == "one"
bundle = os.environ["REQUESTS_CA_BUNDLE"]
with open(bundle) as all_roots, open("one.pem") as own, open("roots.pem", "w") as f:
    f.write(all_roots.read() + own.read())
os.environ["REQUESTS_CA_BUNDLE"] = os.path.abspath("roots.pem")
assert service.run("xyz") == "zyx"
os.environ["REQUESTS_CA_BUNDLE"] = bundle

# -- another certificate and name, and none ----------------------------------------
service.update(ssl_cert_pem_file="two.pem", ssl_key_pem_file="two.key", ssl_cname=OTHER)
service.wait_for_deployment()
service = Webservice(ws, name="ssl-svc")
assert service.state == "Healthy" and service.scoring_uri == "https://%s:443/score" % OTHER, (service.state, service.scoring_uri)
assert requests.post(service.scoring_uri, "abc", headers=headers, verify="two.pem").json() == "cba"
assert served(service.public_ip) == "two"
service.update(ssl_enabled=False)
service.wait_for_deployment()
service = Webservice(ws, name="ssl-svc")
assert service.state == "Healthy" and service.scoring_uri == "http://%s:80/score" % service.public_ip, (service.state, service.scoring_uri)
assert requests.post(service.scoring_uri, "abc", headers=headers).json() == "cba"
assert "PRIVATE KEY" not in service.get_logs()
service.delete()
image.delete()
print("ok")
