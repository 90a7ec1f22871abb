DROP TABLE countries;
DROP TABLE clients;
