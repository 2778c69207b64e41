package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"lazulite.dev/emulator"
)

// sparkDir is where Spark is, for HDInsight clusters and runs of PySpark.
func (m *Main) sparkDir() string {
	if dir := m.Getenv("LAZULITE_SPARK"); dir != "" {
		return dir
	}
	return filepath.Join(m.cacheDir(), "spark")
}

func (m *Main) sparkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "spark", Short: "Apache Spark and Hadoop YARN, which HDInsight clusters run",
		Long: `HDInsight clusters of the kinds spark and hadoop run the real Apache Spark on the real Hadoop YARN.
They are got once, with pip and Maven, into the cache (or the folder LAZULITE_SPARK), and take a Java.
Where YARN can't be had, clusters run on Spark's own standalone master.`,
	}
	var again bool
	install := &cobra.Command{
		Use: "install", Short: "Get Spark (by pip) and YARN (by mvn), 420 MB", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			started := time.Now()
			spark, hadoop, err := emulator.InstallSpark(cmd.Context(), m.sparkDir(), again, m.Stderr)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(m.Stdout, "%s in %s, in %.1f s\n", installed(spark, hadoop), m.sparkDir(), time.Since(started).Seconds())
			return err
		},
	}
	install.Flags().BoolVar(&again, "again", false, "get it again, where it is there already")
	cmd.AddCommand(install)
	return cmd
}

// installed says what there is.
func installed(spark, hadoop string) string {
	if hadoop == "" {
		return "Spark " + spark + " without YARN"
	}
	return "Spark " + spark + " and YARN " + hadoop
}
