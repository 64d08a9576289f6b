// What the daemon does for a container whose log driver is "splunk", with the
// options of the command line.
package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/docker/docker/daemon/logger"
	"github.com/docker/docker/daemon/logger/splunk"
)

func main() {
	options := map[string]string{}
	for _, argument := range os.Args[1:] {
		name, value, _ := strings.Cut(argument, "=")
		options[name] = value
	}
	driver, err := splunk.New(logger.Info{
		Config: options, ContainerID: "5b8efff798038103d269b633813fc60c", ContainerName: "/shop"})
	if err != nil {
		panic(err)
	}
	for n := range numbers() {
		message := logger.NewMessage()
		message.Line = fmt.Appendf(nil,
			`{"level":"error","service":"checkout","message":"order %d failed"}`, n)
		message.Source, message.Timestamp = "stdout", time.Now()
		driver.Log(message)
	}
	time.Sleep(2 * time.Second) // a container that goes on
	driver.Close()
}
