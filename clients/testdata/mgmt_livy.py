"""Today's management SDK makes an HDInsight Spark cluster, and the livy package of PyPI uses its Livy: batches and sessions on real Spark."""
import os
import sys
import time

import requests
from azure.identity import DefaultAzureCredential
from azure.mgmt.hdinsight import HDInsightManagementClient
from azure.mgmt.resource.resources import ResourceManagementClient
from azure.mgmt.storage import StorageManagementClient
from livy import LivyBatch, LivySession, SessionKind
from livy.models import SessionState, SparkRuntimeError

subscription = os.environ["AZURE_SUBSCRIPTION_ID"]
credential = DefaultAzureCredential()
rg, where, name, password = "rg-livy", "eastus2", "livycluster", "A-long-passw0rd!"
groups = ResourceManagementClient(credential, subscription)
storage = StorageManagementClient(credential, subscription)
clusters = HDInsightManagementClient(credential, subscription)

groups.resource_groups.create_or_update(rg, {"location": where})
storage.storage_accounts.begin_create(rg, "livystore01", {"location": where, "sku": {"name": "Standard_LRS"}, "kind": "Storage"}).result()
key = storage.storage_accounts.list_keys(rg, "livystore01").keys_property[0].value


def role(kind, size, count):
    return {"name": kind, "target_instance_count": count, "hardware_profile": {"vm_size": size},
            "os_profile": {"linux_operating_system_profile": {"username": "sshuser", "password": password}}}


started = time.time()
cluster = clusters.clusters.begin_create(rg, name, {"location": where, "properties": {
    "cluster_version": "3.6", "os_type": "Linux", "tier": "Standard",
    "cluster_definition": {"kind": "spark", "configurations": {"gateway": {
        "restAuthCredential.isEnabled": "true", "restAuthCredential.username": "admin", "restAuthCredential.password": password}}},
    "compute_profile": {"roles": [role("headnode", "Standard_D12_v2", 2), role("workernode", "Standard_D4_v2", 1)]},
    "storage_profile": {"storageaccounts": [{"name": "livystore01.blob.core.windows.net", "is_default": True, "container": "data", "key": key}]}}}).result()
assert cluster.properties.cluster_state == "Running", cluster
print("cluster after %.1f s" % (time.time() - started))
url = "https://%s.azurehdinsight.net/livy" % name

assert requests.get(url + "/sessions", auth=("admin", "wrong")).status_code == 401
web = requests.Session()
web.auth = ("admin", password)
assert web.post(url + "/batches", json={"file": "/x.py"}).status_code == 400, "writes need X-Requested-By"
web.headers["X-Requested-By"] = "admin"
refused = web.post(url + "/batches", json={"file": "file:///etc/passwd"})
assert refused.status_code == 400 and "Local path" in refused.json()["msg"], refused.text

# Scripts lie in the cluster's storage: Hadoop's own client puts them there, in a session.
started = time.time()
with LivySession.create(url, auth=web.auth, kind=SessionKind.PYSPARK, verify=os.environ["REQUESTS_CA_BUNDLE"], requests_session=web) as session:
    session.wait()
    assert session.state == SessionState.IDLE, web.get("%s/sessions/%d/log" % (url, session.session_id)).text
    print("session after %.1f s" % (time.time() - started))
    assert session.run("sc.parallelize(range(1000)).sum()").text.strip() == "499500"
    started = time.time()
    for i in range(20):
        assert session.run("%d + 1" % i).text.strip() == str(i + 1)
    print("a statement takes %.0f ms" % ((time.time() - started) / 20 * 1000))
    try:
        session.run("1 / 0").raise_for_status()
        raise AssertionError("an error went by")
    except SparkRuntimeError as e:
        assert e.ename == "ZeroDivisionError", e
    session.run("""
files = {
    "pi.py": '''
import sys
from operator import add
from pyspark.sql import SparkSession
spark = SparkSession.builder.appName("PythonPi").getOrCreate()
n = 100000
inside = lambda i: 1 if ((i * 7919 %% 1009) / 1009.0 - 0.5) ** 2 + ((i * 104729 %% 997) / 997.0 - 0.5) ** 2 <= 0.25 else 0
print("Pi is roughly %%f" %% (4.0 * spark.sparkContext.parallelize(range(n), 2).map(inside).reduce(add) / n))
''',
    "fails.py": "from pyspark.sql import SparkSession; SparkSession.builder.getOrCreate(); raise SystemExit(3)",
}
path = sc._jvm.org.apache.hadoop.fs.Path
fs = path("/").getFileSystem(sc._jsc.hadoopConfiguration())
for name, text in files.items():
    out = fs.create(path("/scripts/" + name)); out.write(bytearray(text.replace("%%", "%").encode())); out.close()
""").raise_for_status()
    frame = session.run("spark.createDataFrame([(1, 'a'), (2, 'b')], ['n', 't']).createOrReplaceTempView('v')")
    frame.raise_for_status()
    assert session.run("spark.sql('select sum(n) s from v').collect()").text.strip() == "[Row(s=3)]"

for script, state in (("pi.py", SessionState.SUCCESS), ("fails.py", SessionState.DEAD)):
    started = time.time()
    batch = LivyBatch.create(url, file="/scripts/" + script, auth=web.auth, verify=os.environ["REQUESTS_CA_BUNDLE"], requests_session=web)
    while batch.state in (SessionState.STARTING, SessionState.RUNNING):
        time.sleep(0.2)
    log = "\n".join(batch.client.get_batch_log(batch.batch_id, 0, 1000).lines)
    assert batch.state == state, (script, batch.state, log)
    if script == "pi.py":
        assert "Pi is roughly 3.1" in log, log
    print("%s: %s after %.1f s" % (script, batch.state, time.time() - started))
    app = web.get("%s/batches/%d" % (url, batch.batch_id)).json()["appId"]
    assert app and app.startswith("application_"), app
    state = web.get("https://%s.azurehdinsight.net/ws/v1/cluster/apps/%s" % (name, app)).json()["app"]["finalStatus"]
    print("YARN says", state)

clusters.clusters.begin_delete(rg, name).result()
print("ok")
