package main

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

var (
	mutex     sync.Mutex
	delivered = map[string]*string{}
)

func keep(message string, ns *string) {
	mutex.Lock()
	defer mutex.Unlock()
	delivered[strings.Fields(message)[1]] = ns
}

// The orders, over some seconds.
func numbers() <-chan int {
	orders := make(chan int)
	first, _ := strconv.Atoi(os.Getenv("FIRST"))
	count, _ := strconv.Atoi(os.Getenv("COUNT"))
	go func() {
		for n := first; n < first+count; n++ {
			orders <- n
			time.Sleep(3 * time.Millisecond)
		}
		close(orders)
	}()
	return orders
}

func tell() {
	if len(delivered) == 0 {
		return
	}
	text, _ := json.Marshal(delivered)
	if err := os.WriteFile(os.Getenv("DELIVERED"), text, 0o644); err != nil {
		panic(err)
	}
}
