module github.com/rbdm/rbdm

go 1.26
