"""`resonate-mq demo`: orders that are finished although their worker and their server are killed on the way."""
