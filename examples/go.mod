module github.com/parley-go/parley/examples

go 1.26.0

require (
	github.com/parley-go/parley v0.0.0
	github.com/stretchr/testify v1.12.1
	github.com/tidwall/redcon v1.6.2
	go.uber.org/goleak v1.3.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/tidwall/btree v1.1.0 // indirect
	github.com/tidwall/match v1.1.1 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
)

replace github.com/parley-go/parley => ../
