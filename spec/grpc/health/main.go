// SPDX-License-Identifier: MIT

// A server with nothing but grpc-go's health service. Each line on its input sets a state: "SERVING", or "NOT_SERVING shop" for a
// service; each is written back when it holds.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	address := flag.String("address", "127.0.0.1:0", "where to listen")
	cert := flag.String("cert", "", "certificate; without it: no TLS")
	key := flag.String("key", "", "its key")
	flag.Parse()
	var options []grpc.ServerOption
	if *cert != "" {
		tls, err := credentials.NewServerTLSFromFile(*cert, *key)
		check(err)
		options = append(options, grpc.Creds(tls))
	}
	listener, err := net.Listen("tcp", *address)
	check(err)
	server, states := grpc.NewServer(options...), health.NewServer()
	grpc_health_v1.RegisterHealthServer(server, states)
	go func() { check(server.Serve(listener)) }()
	fmt.Println(listener.Addr())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		state, service, _ := strings.Cut(lines.Text(), " ")
		number := grpc_health_v1.HealthCheckResponse_ServingStatus_value[state]
		states.SetServingStatus(service, grpc_health_v1.HealthCheckResponse_ServingStatus(number))
		fmt.Println(lines.Text())
	}
}
