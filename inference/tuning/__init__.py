"""Fine-tunes the backbone: tasks side by side, few parameters, run folders that resume. Needs the train extra."""
