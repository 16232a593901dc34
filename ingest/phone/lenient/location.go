package lenient

import "pingline/ingest/phone"

// SetFeature sets a draft by a feature of GeoJSON as Overland has it. The sender is named by
// name, or else by the feature. It returns false if the feature is no fix: without a position,
// or a note of the app (a visit, a trip, a change of its settings), which has the position
// before it and no time of a fix. Named is false if nothing names a rider.
func SetFeature(d *phone.Draft, r *phone.Request, feature Value, name string) (isFix, named bool) {
	var coordinates, properties Value
	feature.Members(func(key string, v Value) {
		switch key {
		case "geometry":
			coordinates = v.Member("coordinates")
		case "properties":
			properties = v
		}
	})
	if !coordinates.Exists() {
		return false, false
	}
	field := phone.Lon // GeoJSON: longitude first
	coordinates.Items(func(v Value) bool {
		n, known := v.Number()
		SetNumber(d, field, n, known)
		field--
		return field >= phone.Lat
	})
	return setProperties(d, r, properties, name)
}

func setProperties(d *phone.Draft, r *phone.Request, properties Value, name string) (isFix, named bool) {
	var device, unique, state string
	var battery Value
	isFix = true
	properties.Members(func(key string, v Value) {
		switch key {
		case "timestamp":
			setTime(d, v)
		case "speed": // m/s
			setPositive(d, phone.Speed, v)
		case "course":
			setPositive(d, phone.Heading, v)
		case "horizontal_accuracy":
			setPositive(d, phone.Accuracy, v)
		case "altitude":
			setNumber(d, phone.Altitude, v)
		case "battery_level":
			battery = v
		case "battery_state":
			state = v.Text()
		case "device_id":
			device = v.Text()
		case "unique_id":
			unique = v.Text()
		case "trip_id", "track_id": // of Overland: when the trip began; of Dawarich
			SetTrip(d, v.Text())
		case "action":
			isFix = isFix && !v.Exists()
		case "type":
			isFix = isFix && v.Text() != "trip"
		}
	})
	if level, known := battery.Number(); level != 0 || state != "unknown" { // 0 of an app that does not know
		SetShare(d, level, known)
	}
	return isFix, SetSender(d, r, name, device, unique)
}

// SetLocation sets a draft by a location of the library of Transistor Software, which has the
// member coords, and gives other the members that it does not know itself. A sample comes
// while the receiver settles; the best of several comes again and is none.
func SetLocation(d *phone.Draft, location Value, other func(key string, v Value)) (isLocation, sample bool) {
	location.Members(func(key string, v Value) {
		switch key {
		case "coords":
			isLocation = v.IsObject()
			v.Members(func(key string, v Value) { setCoordinate(d, key, v) })
		case "timestamp":
			setTime(d, v)
		case "battery":
			level, known := v.Member("level").Number()
			SetShare(d, level, known)
		case "sample":
			sample = v.True()
		default:
			other(key, v)
		}
	})
	return isLocation, sample
}

func setCoordinate(d *phone.Draft, key string, v Value) {
	switch key {
	case "latitude":
		setNumber(d, phone.Lat, v)
	case "longitude":
		setNumber(d, phone.Lon, v)
	case "altitude":
		setNumber(d, phone.Altitude, v)
	case "accuracy":
		setPositive(d, phone.Accuracy, v)
	case "speed": // m/s
		setPositive(d, phone.Speed, v)
	case "heading":
		setPositive(d, phone.Heading, v)
	}
}

func setNumber(d *phone.Draft, f phone.Field, v Value) {
	n, known := v.Number()
	SetNumber(d, f, n, known)
}

func setPositive(d *phone.Draft, f phone.Field, v Value) {
	n, known := v.Number()
	SetPositive(d, f, n, known)
}

// setTime sets a time that can be read.
func setTime(d *phone.Draft, v Value) {
	if ms, known := v.Time(); known {
		d.SetTime(ms)
	}
}
