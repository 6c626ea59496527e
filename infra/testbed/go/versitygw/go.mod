// The S3 server.
module tidegate.local/testbed/versitygw

go 1.24.0
