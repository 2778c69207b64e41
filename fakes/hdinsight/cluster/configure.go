package cluster

import (
	"bytes"
	_ "embed"
	"encoding/xml"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed hadoop.sh
var hadoopScript string

// configure writes the files of configuration and the commands that all nodes share.
func (h *hadoop) configure(s Spec) error {
	c := h.cluster
	if err := h.trust(); err != nil {
		return err
	}
	if h.release.Hadoop == "" {
		if err := os.MkdirAll(c.storage(), 0o777); err != nil {
			return err
		}
		// Of all users of the nodes, as a storage account is.
		if err := os.Chmod(c.storage(), 0o777); err != nil {
			return err
		}
	}
	files := map[string][]byte{"log4j.properties": []byte(log4j), "log4j2.properties": []byte(log4j2)}
	all := h.configurations(s)
	for name, values := range all {
		files[name+".xml"] = site(values)
	}
	files["spark-defaults.conf"] = defaults(all["spark2-defaults"])
	delete(files, "spark2-defaults.xml")
	c.mu.Lock()
	c.configurations = all
	c.mu.Unlock()
	if old, err := filepath.Glob(filepath.Join(c.conf(), "*.xml")); err == nil {
		for _, file := range old {
			if files[filepath.Base(file)] == nil {
				// Of another installation.
				if err := os.Remove(file); err != nil {
					return err
				}
			}
		}
	}
	for name, data := range files {
		if err := writeFile(filepath.Join(c.conf(), name), data, 0o644); err != nil {
			return err
		}
	}
	for name, script := range h.commands(s) {
		if err := writeFile(filepath.Join(c.tools(), name), []byte(script), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// configurations by name; what a client has given comes over ours.
func (h *hadoop) configurations(s Spec) map[string]map[string]string {
	all := map[string]map[string]string{"core-site": h.coreSite(s), "spark2-defaults": h.sparkDefaults()}
	maps.Copy(all, h.manager.sites(h))
	for name, values := range s.Sites {
		if name == "spark-defaults" {
			name = "spark2-defaults"
		}
		if all[name] != nil {
			maps.Copy(all[name], values)
		}
	}
	return all
}

// Configurations that the nodes have, by name; secrets are left out.
func (c *Cluster) Configurations() map[string]map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]map[string]string{}
	for name, values := range c.configurations {
		out[name] = map[string]string{}
		for k, v := range values {
			if !strings.HasPrefix(k, "fs.azure.account.key.") {
				out[name][k] = v
			}
		}
	}
	return out
}

// trust has Java reach Azure's names as other programs do: through the proxy, with the same bundle.
func (h *hadoop) trust() error {
	h.java = nil
	if bundle := value(h.network, "SSL_CERT_FILE"); bundle != "" {
		// It is mounted at its own path.
		data, err := os.ReadFile(bundle)
		if err != nil {
			return err
		}
		store, err := trustStore(data)
		if err != nil {
			return err
		}
		file := filepath.Join(h.cluster.conf(), "trust.jks")
		if err := writeFile(file, store, 0o644); err != nil {
			return err
		}
		h.java = append(h.java, "-Djavax.net.ssl.trustStore="+file, "-Djavax.net.ssl.trustStorePassword="+trustPassword)
	}
	for _, scheme := range []string{"http", "https"} {
		if proxy, err := url.Parse(value(h.network, strings.ToUpper(scheme)+"_PROXY")); err == nil && proxy.Host != "" {
			h.java = append(h.java, "-D"+scheme+".proxyHost="+proxy.Hostname(), "-D"+scheme+".proxyPort="+proxy.Port())
		}
	}
	h.java = append(h.java, "-Dhttp.nonProxyHosts=localhost|127.*|hn0*|wn*|ed-*|10.*|172.*|192.168.*")
	return nil
}

func (h *hadoop) coreSite(s Spec) map[string]string {
	// Without storage what the nodes share is the file system.
	out := map[string]string{"hadoop.tmp.dir": "/tmp/hadoop-${user.name}", "hadoop.http.staticuser.user": "yarn", "fs.defaultFS": "file:///"}
	if h.host {
		out["hadoop.tmp.dir"] = filepath.Join(h.cluster.shared(), "tmp")
	}
	if h.release.Hadoop == "" {
		out["fs.defaultFS"] = "viewfs://shared/"
		out["fs.viewfs.mounttable.shared.linkMergeSlash"] = "file://" + h.cluster.storage()
		return out
	}
	for i, a := range s.Storage {
		if i == 0 {
			out["fs.defaultFS"] = "wasb://" + a.Container + "@" + a.Account
		}
		out["fs.azure.account.key."+a.Account] = a.Key
	}
	return out
}

func (h *hadoop) sparkDefaults() map[string]string {
	java := strings.Join(h.java, " ")
	out := map[string]string{
		"spark.submit.deployMode":           "client",
		"spark.driver.defaultJavaOptions":   java,
		"spark.executor.defaultJavaOptions": java,
		"spark.port.maxRetries":             "64",
		"spark.ui.showConsoleProgress":      "false",
	}
	maps.Copy(out, h.manager.spark(h))
	return out
}

// sparkEnv is what Spark's programs find in the environment of nodes and logins.
func (h *hadoop) sparkEnv(s Spec) []string {
	c := h.cluster
	env := []string{"SPARK_HOME=" + h.release.Home(), "SPARK_CONF_DIR=" + c.conf(), "HADOOP_CONF_DIR=" + c.conf(),
		"PYSPARK_PYTHON=python3", "SPARK_SUBMIT_OPTS=" + strings.Join(h.java, " ")}
	if h.host {
		env = append(env, "SPARK_LOCAL_IP=127.0.0.1", "HADOOP_USER_NAME="+s.User)
		path := value(h.env, "PATH")
		if path == "" {
			path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
		}
		env = append(env, "PATH="+c.tools()+":"+path)
	}
	return env
}

// variables are the names of what logins in containers are to have too.
func (h *hadoop) variables() []string {
	var out []string
	for _, kv := range h.env {
		name, _, _ := strings.Cut(kv, "=")
		out = append(out, name)
	}
	return out
}

// exports are the same in a command's own script, for sessions that have cleared theirs.
func (h *hadoop) exports(s Spec) string {
	var b strings.Builder
	for _, kv := range h.sparkEnv(s) {
		if name, v, _ := strings.Cut(kv, "="); name != "PATH" {
			fmt.Fprintf(&b, "[ -n \"$%s\" ] || export %s='%s'\n", name, name, v)
		}
	}
	return b.String()
}

// commands are scripts by name, as HDInsight's nodes have them.
func (h *hadoop) commands(s Spec) map[string]string {
	head := "#!/bin/sh\n" + h.exports(s)
	out := map[string]string{}
	for name, program := range map[string]string{"spark-submit": "spark-submit", "spark-shell": "spark-shell", "spark-sql": "spark-sql",
		"spark-class": "spark-class", "pyspark": "pyspark", "run-spark-example": "run-example"} {
		path := ""
		if alone, ok := h.manager.(standalone); ok && name != "spark-class" && name != "run-spark-example" {
			path = "master='" + alone.url(h) + "'\n" + forYARN
		}
		if name == "pyspark" {
			// Of a Spark that pip brought, the interpreter of the shell finds the package in the archive alone.
			path += "export PYTHONPATH=\"$SPARK_HOME/python/lib/pyspark.zip${PYTHONPATH:+:$PYTHONPATH}\"\n"
		}
		out[name] = head + path + "exec \"$SPARK_HOME/bin/" + program + "\" \"$@\"\n"
	}
	programs := []string{"hadoop", "hdfs", "yarn"}
	if h.release.Hadoop == "" {
		programs = programs[:2]
	}
	for _, name := range programs {
		out[name] = head + "classpath='" + h.cluster.conf() + ":" + filepath.Join(h.release.jars(), "*") + "'\n" + hadoopScript
	}
	return out
}

// site is one of Hadoop's files.
func site(all map[string]string) []byte {
	var b bytes.Buffer
	b.WriteString("<configuration>\n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b.WriteString("<property><name>")
		_ = xml.EscapeText(&b, []byte(name))
		b.WriteString("</name><value>")
		_ = xml.EscapeText(&b, []byte(all[name]))
		b.WriteString("</value></property>\n")
	}
	b.WriteString("</configuration>\n")
	return b.Bytes()
}

// defaults is spark-defaults.conf.
func defaults(all map[string]string) []byte {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s %s\n", name, strings.ReplaceAll(all[name], "\n", " "))
	}
	return b.Bytes()
}

// YARN's servers and Hadoop's commands log by log4j 1, Spark by log4j 2.
const (
	log4j = `log4j.rootLogger=WARN,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{yy/MM/dd HH:mm:ss} %p %c{1}: %m%n
log4j.logger.org.apache.hadoop.util.NativeCodeLoader=ERROR
log4j.logger.org.apache.hadoop.metrics2.impl.MetricsConfig=ERROR
log4j.logger.org.apache.hadoop.metrics2.impl.MetricsSystemImpl=ERROR
`
	log4j2 = `rootLogger.level = info
rootLogger.appenderRef.stdout.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yy/MM/dd HH:mm:ss} %p %c{1}: %m%n%ex
logger.native.name = org.apache.hadoop.util.NativeCodeLoader
logger.native.level = error
logger.metrics.name = org.apache.hadoop.metrics2
logger.metrics.level = error
`
)
