"""How far can a score be trusted, and is one method better than another?"""
