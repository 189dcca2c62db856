"""What parties are asked to do, who may ask, and what they state in return: typed, strict and pure."""
