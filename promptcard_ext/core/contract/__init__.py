"""What the REST interface takes and gives, shared by server and client; one noun a file."""
