"""MIME: from text, files and header fields to the octets of a message (RFC 5322, RFC 2045 to 2047, 2231). Pure but for
`reading`, the one door to files."""
