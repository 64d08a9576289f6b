//go:build tools

package main

import _ "github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs"
