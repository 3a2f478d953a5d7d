"""One file a task: data mapping, head, loss, measure."""
