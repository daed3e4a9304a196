"""What is a secret: by the name it goes under, and by what a text looks like."""
