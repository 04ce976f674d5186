"""The default encoder: components shared by marks and cell types, in closed form."""
