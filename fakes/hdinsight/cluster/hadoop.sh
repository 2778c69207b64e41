word=$1
[ $# = 0 ] || shift
case "$word" in
  fs | dfs) class=org.apache.hadoop.fs.FsShell ;;
  app | application) class="org.apache.hadoop.yarn.client.cli.ApplicationCLI application" ;;
  node) class=org.apache.hadoop.yarn.client.cli.NodeCLI ;;
  logs) class=org.apache.hadoop.yarn.client.cli.LogsCLI ;;
  version) class=org.apache.hadoop.util.VersionInfo ;;
  *) echo "${0##*/}: the command '$word' is not here; there are fs, dfs, application, node, logs and version" >&2; exit 1 ;;
esac
exec java $SPARK_SUBMIT_OPTS --add-opens=java.base/java.lang=ALL-UNNAMED -Xmx256m -cp "$classpath" $class "$@"
