"""Reports: blocks, rendered as one HTML file or as Markdown, and the figures in them."""
