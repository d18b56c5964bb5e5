"""The page where people meet fraudray; it talks HTTP to the graph."""
